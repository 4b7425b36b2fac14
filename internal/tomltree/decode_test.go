package tomltree

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

type level string

type inner struct {
	Size  int     `toml:"size" range:"1..100"`
	Share float64 `toml:"share" range:"0..1"`
}

type base struct {
	_    struct{} `toml:"metadata"`
	Name string   `toml:"name" len:"1..5"`
}

type sample struct {
	base

	On       bool             `toml:"on"`
	Level    level            `toml:"level" enum:"low|high"`
	Password string           `toml:"password" secret:"true" len:"..8"`
	Inner    inner            `toml:"inner"`
	Option   *inner           `toml:"option"`
	Named    map[string]inner `toml:"named"`
	Waits    []int            `toml:"waits" len:"1..3" range:"0..60"`
	Levels   []level          `toml:"levels" enum:"low|high" default:"['low']"`
	Rows     []inner          `toml:"rows" default:"[{size = 7, share = 1}]"`
	Mail     string           `toml:"mail" format:"mail" default:"'@'"`
	Extra    struct {
		Depth int `toml:"depth" default:"3" range:"1..10"`
	} `toml:"extra"`
}

var sampleSchema = NewSchema(reflect.TypeFor[sample](), map[string]Format{"mail": {
	Code: "bad-mail", Message: "is no address", Fix: "write one with an @",
	Fits: func(text string) bool { return strings.Contains(text, "@") },
}})

const goodSample = `
name = "n"
on = true
level = "high"
password = "hunter2"
waits = [1, 2]
inner = {size = 1, share = 1}
named.a = {size = 1, share = 1}
`

func TestDecode(t *testing.T) {
	t.Parallel()
	const src = goodSample + `
name_docs = "documents name"
_docs = {any = "thing"}
[metadata]
[option]
size = 2
share = 0.5
[named.x]
size = 3
share = 0
[named._docs]
`
	var got sample
	unsure, problems := sampleSchema.Decode(parse(t, "f.toml", []byte(src)), &got)
	if len(problems)+len(unsure) > 0 {
		t.Fatal((&Report{Problems: problems}).Error())
	}
	want := sample{
		base: base{Name: "n"}, On: true, Level: "high", Password: "hunter2",
		Inner: inner{1, 1}, Option: &inner{2, 0.5}, Named: map[string]inner{"a": {1, 1}, "x": {3, 0}},
		Waits: []int{1, 2}, Levels: []level{"low"}, Rows: []inner{{7, 1}}, Mail: "@",
	}
	want.Extra.Depth = 3
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestDecodeOne lays one line over a good document: it decodes, or gives one
// problem with that text.
func TestDecodeOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ over, want string }{
		{`inner.size = 100`, ""},
		{`inner.share = 1`, ""},
		{`inner.size = "${A}"`, ""},
		{`inner.size = "${NONE:-30}"`, ""},
		{`inner.share = "${NONE:-0.5}"`, ""},
		{`on = "${NONE:-false}"`, ""},
		{`waits = {0 = 9, 1 = 8}`, ""},
		{`waits = ["${A}"]`, ""},
		{`inner.size = 30.0`, "inner.size is 30.0, want a whole number"},
		{`inner.size = -1`, "inner.size is -1, want 1 to 100"},
		{`inner.size = 9999999999`, "inner.size is 9999999999, want 1 to 100"},
		{`inner.size = "30"`, "inner.size is \"30\", want a whole number = fix: write it without the quotes"},
		{`inner.size = "thirty"`, "inner.size is \"thirty\", want a whole number"},
		{`inner.size = 2020-01-01`, "inner.size is 2020-01-01, want a whole number"},
		{`inner.size = [1]`, "inner.size is an array, want a whole number"},
		{`inner.size = "x${A}"`, "inner.size has a value that does not fit, want a whole number"},
		{`inner.size = "${BAD}"`, "inner.size has a value that does not fit, want a whole number"},
		{`inner.size = "${BIG}"`, "inner.size has a value that does not fit, want 1 to 100"},
		{`inner.size = "${NONE:-500}"`, "inner.size is 500, want 1 to 100"},
		{`inner.size = "${A:-500}"`, "inner.size has a default that does not do: it is 500, want 1 to 100"},
		{`inner.size = "${A-x}"`, "inner.size has a default that does not do: it is \"x\", want a whole number"},
		{`inner.size = "${A:-${NONE:-x}}"`, "inner.size has a default that does not do: it is \"x\", want a whole number"},
		{`inner.size = "${A:-${NONE}}"`, ""},
		{`inner.size = "${A:-12}"`, ""},
		{`waits = ["${A:-61}"]`, "waits.0 has a default that does not do: it is 61, want 0 to 60"},
		{`mail = "x"`, "mail is no address = fix: write one with an @"},
		{`mail = "${BAD:-a@b}"`, "mail is no address = fix: write one with an @"},
		{`mail = "${MAIL:-x}"`, "mail has a default that does not do: it is no address = fix: write one with an @"},
		{`mail = "a@b"`, ""},
		{`inner.share = nan`, "inner.share is nan, want a finite number"},
		{`inner.share = -inf`, "inner.share is -inf, want a finite number"},
		{`inner.share = 1.5`, "inner.share is 1.5, want 0 to 1"},
		{`on = 1`, "on is 1, want true or false"},
		{`on = "yes"`, "on is \"yes\", want true or false"},
		{`on = "true"`, "on is \"true\", want true or false = fix: write it without the quotes"},
		{`name = ""`, "name is empty"},
		{`name = "müßig?"`, "name has 6 characters, want 1 to 5"},
		{`name = "${BYTES}"`, "name is not UTF-8, want a string"},
		{`name = 5`, "name is 5, want a string = fix: write it in quotes"},
		{`level = "Low"`, "level is \"Low\", want one of low, high = fix: did you mean \"low\"?"},
		{`level = "${A}"`, "level has a value that does not fit, want one of low, high"},
		{`levels = ["low", "hig"]`, "levels.1 is \"hig\", want one of low, high = fix: did you mean \"high\"?"},
		{`password = 5`, "password has a value that does not fit, want a string = fix: write it in quotes"},
		{`password = "hunter2hunter2"`, "password has 14 characters, want at most 8"},
		{`waits = []`, "waits has 0 entries, want 1 to 3"},
		{`waits = {0 = 1, 2 = 1}`, "waits.2 leaves a gap"},
		{`waits = {00 = 1}`, "waits.00 is not an index"},
		{`waits = {x = 1}`, "waits.x is not an index"},
		{`waits = {-1 = 1}`, "waits.-1 is not an index"},
		{`waits = [1, 61]`, "waits.1 is 61, want 0 to 60"},
		{`rows = [1]`, "rows.0 is 1, want a table"},
		{`rows = [{size = 1}]`, "rows.0.share is missing"},
		{`named.x = 1`, "named.x is 1, want a table"},
		{`named.x.size = 1`, "named.x.share is missing"},
		{`named.x = {size = 1, share = 0, sise = 1}`, "named.x.sise is not a known key = fix: did you mean size?"},
		{`option = true`, "option is true, want a table"},
		{`inner = [1]`, "inner is an array, want a table"},
		{`metadata.x = 1`, "metadata.x is not a known key"},
		{`include_docs = true`, "include_docs is not a known key"},
		{`levl = "low"`, "levl is not a known key = fix: did you mean level?"},
		{`depth = 1`, "depth is not a known key = fix: a key of that name is extra.depth"},
		{`extra.depth = 11`, "extra.depth is 11, want 1 to 10"},
	} {
		t.Run(c.over, func(t *testing.T) {
			t.Parallel()
			tree, problems := Merge(parse(t, "good.toml", []byte(goodSample)), parse(t, "f.toml", []byte(c.over)))
			if strings.HasPrefix(c.over, "waits = {") || c.over == "option = true" || strings.HasPrefix(c.over, "inner = [") {
				problems = nil // the clash of shapes is not the matter here
			}
			vars := map[string]string{"A": "30", "BAD": "30abc", "BIG": "5000", "MAIL": "a@b", "BYTES": "\xff"}
			tree, _, more := Expand(tree, Variables{
				Lookup:  func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
				Allowed: []string{"A", "BAD", "BIG", "BYTES", "MAIL", "NONE"},
			})
			var into sample
			unsure, found := sampleSchema.Decode(tree, &into)
			problems = append(append(problems, more...), found...)
			switch {
			case c.want == "" && len(problems) == 0:
			case len(problems) != 1:
				t.Errorf("gives %d problems, want %q\n%s", len(problems), c.want, (&Report{Problems: problems}).Error())
			default:
				p := problems[0]
				got := p.Key + " " + p.Message
				if p.Fix != "" && p.Code != "missing-key" && p.Code != "bad-index" {
					got += " = fix: " + p.Fix
				}
				if got != c.want {
					t.Errorf("gives %q, want %q", got, c.want)
				}
				if (len(unsure) == 0) != (p.Code == "unknown-key" || p.Hidden) {
					t.Errorf("unsure are %v", unsure)
				}
			}
		})
	}
}

// TestDecodeProblems prints all problems of testdata/decode_*.txtar at once.
func TestDecodeProblems(t *testing.T) {
	t.Parallel()
	golden.Each(t, "testdata/decode_*.txtar", func(t *testing.T, c *golden.Case) {
		report := &Report{}
		tree, problems := Parse("file.toml", c.Input("file.toml"), sampleSchema.Secrets()...)
		report.Add(problems...)
		var into sample
		_, problems = sampleSchema.Decode(tree, &into)
		report.Add(problems...)
		report.Sort()
		c.Want("problems.txt", report.Error())
	})
}

func TestFields(t *testing.T) {
	t.Parallel()
	var keys []string
	for _, f := range sampleSchema.Fields() {
		keys = append(keys, f.Key)
	}
	const want = "on level password inner.size inner.share option.size option.share named.*.size named.*.share waits levels rows mail extra.depth name"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("fields are %s, want %s", got, want)
	}
}

func TestNewSchemaPanics(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]reflect.Type{
		"no tag": reflect.TypeFor[struct{ A int }](),
		"bad range": reflect.TypeFor[struct {
			A int `toml:"a" range:"1"`
		}](),
		"open range": reflect.TypeFor[struct {
			A int `toml:"a" range:".."`
		}](),
		"bad default": reflect.TypeFor[struct {
			A int `toml:"a" default:"x"`
		}](),
		"bad format": reflect.TypeFor[struct {
			A string `toml:"a" format:"x"`
		}](),
		"bad type": reflect.TypeFor[struct {
			A chan int `toml:"a"`
		}](),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			NewSchema(typ, nil)
		}()
	}
}

// FuzzDecode checks on any document: no panic, what decodes without a problem
// is within its bounds, and a secret never shows.
func FuzzDecode(f *testing.F) {
	f.Add(goodSample)
	f.Add("waits = {1 = 2}\nnamed.a.b = 1\npassword = 'hunter2hunter2'")
	f.Fuzz(func(t *testing.T, doc string) {
		tree, problems := Parse("f.toml", []byte(doc), sampleSchema.Secrets()...)
		if len(problems) > 0 {
			return
		}
		tree, _, _ = Expand(tree, Variables{Lookup: lookup, Allowed: allowed})
		var into sample
		_, problems = sampleSchema.Decode(tree, &into)
		secret := tree.Lookup("password")
		for _, p := range problems {
			if p.Key == "" || p.Message == "" {
				t.Fatalf("a problem says nothing: %+v", p)
			}
			if secret != nil && p.Key == "password" && len(secret.Text()) > 3 && strings.Contains(p.Message+p.Fix, secret.Text()) {
				t.Fatalf("the secret shows: %s", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		if into.Inner.Size < 1 || into.Inner.Size > 100 || into.Inner.Share < 0 || into.Inner.Share > 1 ||
			len(into.Waits) < 1 || len(into.Waits) > 3 || into.Extra.Depth < 1 || into.Extra.Depth > 10 {
			t.Fatalf("out of bounds: %+v", into)
		}
	})
}
