package tomltree

import (
	"encoding/json"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"testing"

	burntsushi "github.com/BurntSushi/toml"
	tomltest "github.com/toml-lang/toml-test/v2"
)

// TestConformance runs the TOML project's own documents: Parse accepts the valid
// ones with the values that stand beside them, and refuses the others.
func TestConformance(t *testing.T) {
	t.Parallel()
	files := tomltest.TestCases()
	list, err := fs.ReadFile(files, "files-toml-1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	valid, invalid := 0, 0
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		if !strings.HasSuffix(name, ".toml") {
			continue
		}
		doc, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		tree, problems := Parse(name, doc)
		if strings.HasPrefix(name, "invalid/") {
			if invalid++; len(problems) == 0 {
				t.Errorf("%s is accepted", name)
			}
			continue
		}
		if valid++; len(problems) > 0 {
			t.Errorf("%s is refused:\n%s", name, (&Report{Problems: problems}).Error())
			continue
		}
		data, err := fs.ReadFile(files, strings.TrimSuffix(name, ".toml")+".json")
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if !isTagged(tree, want) {
			t.Errorf("%s gives\n%s\nwant %s", name, Encode(tree), data)
		}
		again, problems := Parse("encoded", Encode(tree))
		if len(problems) > 0 || !equal(again, tree) {
			t.Errorf("%s is encoded as\n%s", name, Encode(tree))
		}
	}
	if valid < 200 || invalid < 450 {
		t.Errorf("there were %d valid documents and %d others", valid, invalid)
	}
}

// TestConformanceAgrees compares the values of the project's documents with a
// second library, where that one accepts them.
func TestConformanceAgrees(t *testing.T) {
	t.Parallel()
	files := tomltest.TestCases()
	compared := 0
	err := fs.WalkDir(files, "valid", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".toml") {
			return err
		}
		doc, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		var want map[string]any
		if _, err := burntsushi.Decode(string(doc), &want); err != nil {
			return nil //nolint:nilerr // it does not know TOML 1.1
		}
		compared++
		if tree, _ := Parse(name, doc); !agrees(tree, want) {
			t.Errorf("%s gives\n%s\nwant %v", name, Encode(tree), want)
		}
		return nil
	})
	if err != nil || compared < 200 {
		t.Errorf("%d documents were compared (%v)", compared, err)
	}
}

// isTagged compares v with JSON in which every scalar is {"type": …, "value": …}.
func isTagged(v *Value, want any) bool {
	switch want := want.(type) {
	case []any:
		if v.kind != Array || len(v.entries) != len(want) {
			return false
		}
		for i, w := range want {
			if !isTagged(v.entries[i].value, w) {
				return false
			}
		}
		return true
	case map[string]any:
		kind, isText := want["type"].(string)
		text, hasText := want["value"].(string)
		if isText && hasText && len(want) == 2 {
			return isScalar(v, kind, text)
		}
		if v.kind != Table || len(v.entries) != len(want) {
			return false
		}
		for key, w := range want {
			if e := v.find(key); e == nil || !isTagged(e.value, w) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func isScalar(v *Value, kind, text string) bool {
	switch kind {
	case "string":
		return v.kind == String && v.text == text
	case "integer":
		return v.kind == Integer && strconv.FormatInt(int64(v.bits), 10) == text
	case "float":
		want, err := strconv.ParseFloat(strings.TrimPrefix(text, "+"), 64)
		return err == nil && v.kind == Float && (v.float() == want || math.IsNaN(v.float()) && math.IsNaN(want))
	case "bool":
		return v.kind == Bool && (text == "true") == (v.bits == 1)
	default:
		return v.kind == Datetime
	}
}
