package tomltree

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestLayers lays middle.toml and top.toml of every testdata/layers_*.txtar over
// base.toml, and prints the problems, what is in effect, and how it came about.
func TestLayers(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/layers_*.txtar", func(t *testing.T, c *golden.Case) {
		report := &Report{}
		tree, _ := Parse("none.toml", nil)
		for _, name := range []string{"base.toml", "middle.toml", "top.toml"} {
			layer, problems := Parse(name, c.Input(name), sampleSchema.Secrets()...)
			report.Add(problems...)
			tree, problems = Merge(tree, layer)
			report.Add(problems...)
		}
		tree, _, problems := Expand(tree, Variables{
			Lookup: lookup, Allowed: allowed, Secret: sampleSchema.IsSecret,
			ReadFile: func(string) ([]byte, error) { return nil, errors.New("no such file") },
		})
		report.Add(problems...)
		var into sample
		_, problems = sampleSchema.Decode(tree, &into)
		report.Add(problems...)
		report.Sort()
		c.Want("problems.txt", report.Error())
		shown, _ := sampleSchema.Redact(sampleSchema.Complete(tree))
		c.Want("effective.toml", string(Annotate(shown, func(key string, v *Value) string {
			var chain []string
			for _, link := range sampleSchema.Chain(key, v) {
				chain = append(chain, link.String())
			}
			return strings.Join(chain, " ← ")
		})))
	})
}

// TestHiddenVariables checks that what a merge replaced is looked at and not
// looked up.
func TestHiddenVariables(t *testing.T) {
	t.Parallel()
	base, _ := Merge(parse(t, "base.toml", []byte(goodSample)), parse(t, "b.toml", []byte("inner.size = '${A}'\ninner.share = '${B:-2}'\nname = '${HOME}'\nlevel = '${A'")))
	tree := merge(t, base, parse(t, "top.toml", []byte("inner = {size = 2, share = 1}\nname = 'n'\nlevel = 'low'")))
	tree, unset, problems := Expand(tree, Variables{Lookup: func(name string) (string, bool) {
		t.Errorf("%s was looked up", name)
		return "", false
	}, Allowed: allowed})
	_, more := sampleSchema.Decode(tree, &sample{})
	var got []string
	for _, p := range append(problems, more...) {
		got = append(got, p.Code+" "+p.Key)
	}
	want := []string{"forbidden-variable name", "bad-placeholder level", "out-of-range inner.share"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(unset) > 0 {
		t.Errorf("problems are %v, want %v; unset are %v", got, want, unset)
	}
}

// TestSecretFiles lets NAME_FILE stand for NAME in a secret, and nowhere else.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	files := map[string]string{"good": "hunter2\n", "crlf": "hunter2\r\n", "two": "hunter2\n\n", "empty": ""}
	for _, c := range []struct {
		text string
		vars map[string]string
		want string // the value, or the code of a problem
	}{
		{"${A}", map[string]string{"A_FILE": "good"}, "hunter2"},
		{"${A:-d}", map[string]string{"A_FILE": "crlf"}, "hunter2"},
		{"<${A-d}>", map[string]string{"A_FILE": "two"}, "<hunter2\n>"},
		{"${A:?say}", map[string]string{"A": "", "A_FILE": "good"}, "hunter2"},
		{"${A:-d}", map[string]string{"A_FILE": "empty"}, "d"},
		{"${A-d}", map[string]string{"A_FILE": "empty"}, ""},
		{"${A:-d}", map[string]string{"A": "a", "A_FILE": ""}, "a"},
		{"${A:-d}", map[string]string{"A": "a", "A_FILE": "good"}, "two-sources"},
		{"${A:-d}", map[string]string{"A_FILE": "none"}, "unreadable-secret"},
		{"${A_FILE}", map[string]string{"A_FILE": "good"}, "forbidden-variable"},
	} {
		vars := Variables{
			Lookup:  func(name string) (string, bool) { v, ok := c.vars[name]; return v, ok },
			Allowed: []string{"A"}, Secret: sampleSchema.IsSecret,
			ReadFile: func(name string) ([]byte, error) {
				content, ok := files[name]
				if !ok {
					return nil, errors.New("hunter2: no such file")
				}
				return []byte(content), nil
			},
		}
		tree, unset, problems := Expand(parse(t, "f.toml", []byte("password = '"+c.text+"'")), vars)
		got := tree.Lookup("password").Text()
		for _, p := range problems {
			if got = p.Code; strings.Contains(p.String(), "hunter2") {
				t.Errorf("the secret shows:\n%s", p)
			}
		}
		if got != c.want || len(problems) > 1 || len(unset) > 0 {
			t.Errorf("%s with %v is %q, want %q", c.text, c.vars, got, c.want)
		}
		tree, _, _ = Expand(parse(t, "f.toml", []byte("name = '"+c.text+"'")), vars)
		if strings.Contains(tree.Lookup("name").Text(), "hunter2") {
			t.Errorf("%s with %v reads a file where there is no secret", c.text, c.vars)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	tree := parse(t, "f.toml", []byte("b = {y = [1, 2.5, '<'], x = true}\na = inf\nd = 2020-01-01\n"))
	got, err := json.Marshal(tree)
	if want := `{"b":{"y":[1,2.5,"<"],"x":true},"a":"inf","d":"2020-01-01"}`; err != nil || strings.ReplaceAll(string(got), `\u003c`, "<") != want {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	_, problems := sampleSchema.Decode(merge(t, parse(t, "g.toml", []byte(goodSample)), parse(t, "f.toml", []byte("inner.size = 0\ninner.sise = 1"))), &sample{})
	got, err = json.Marshal(problems)
	want := `[{"severity":"error","code":"out-of-range","key":"inner.size","file":"f.toml","line":1,"column":14,` +
		`"message":"is 0, want 1 to 100","chain":[{"written":"0","file":"f.toml","line":1,"column":14},{"written":"1","file":"g.toml","line":7,"column":17}]},` +
		`{"severity":"error","code":"unknown-key","key":"inner.sise","file":"f.toml","line":2,"column":7,"message":"is not a known key",` +
		`"effect":"size keeps 0, from f.toml:1:14","fix":"did you mean size?","instead":"inner.size"}]`
	if err != nil || string(got) != want {
		t.Errorf("got %s\nwant %s (%v)", got, want, err)
	}
}
