package templates

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestOriginalTemplates loads the template files of the original system,
// unchanged (testdata/original has their licence).
func TestOriginalTemplates(t *testing.T) {
	t.Parallel()
	all, err := LoadFS(os.DirFS("testdata/original"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 16 {
		t.Errorf("%d templates, want 16", len(all))
	}
	for _, tmpl := range all {
		checkRoundTrip(t, tmpl)
	}
}

// TestEveryKeyIsDocumented holds docs/templates.md to the keys that templates may
// have.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	var seen []reflect.Type
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || slices.Contains(seen, typ) {
			return
		}
		seen = append(seen, typ)
		for i, f := range fieldsOf(typ) {
			for _, key := range []string{f.key, f.alias} {
				if key != "" && !strings.Contains(string(text), "`"+key+"`") {
					t.Errorf("docs/templates.md does not mention %s of %s", key, typ.Name())
				}
			}
			if limits := f.tag.Get("range"); limits != "" {
				if low, high, _ := strings.Cut(limits, ".."); !strings.Contains(string(text), low+"–"+high) {
					t.Errorf("docs/templates.md does not have the range %s–%s of %s", low, high, f.key)
				}
			}
			visit(typ.Field(i).Type)
		}
	}
	visit(reflect.TypeFor[Template]())
	if len(seen) < 8 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}
