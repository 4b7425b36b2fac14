package templates

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestSchemaCheck holds values against a schema; every difference comes with
// its pointer.
func TestSchemaCheck(t *testing.T) {
	t.Parallel()
	const schema = `{
		"type": "object", "required": ["n"], "additionalProperties": false,
		"properties": {
			"n": {"type": "integer", "multipleOf": 2}, "mail": {"format": "email"}, "a/b": {"$ref": "#/$defs/word"},
			"items": {"type": "array", "items": {"type": "object", "required": ["sku"]}}
		},
		"$defs": {"word": {"type": "string", "maxLength": 3}}
	}`
	var o Object
	if err := json.Unmarshal([]byte(schema), &o); err != nil {
		t.Fatal(err)
	}
	compiled, err := CompileSchema(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		value string
		want  []string // prefixes
	}{
		{`{"n": 2}`, nil},
		{`{"n": 9007199254740994}`, nil}, // exact beyond float64
		{`{"n": 9007199254740993}`, []string{"at /n: multipleOf: got "}},
		{`{}`, []string{"missing property 'n'"}},
		{`[]`, []string{"got array, want object"}},
		{`{"n": "x", "mail": "nobody", "a/b": "long", "items": [{"sku": 1}, {}, 7], "z": 1}`, []string{
			"additional properties 'z' not allowed", "at /a~1b: maxLength: got 4, want 3", "at /items/1: missing property 'sku'",
			"at /items/2: got number, want object", "at /mail: 'nobody' is not valid email", "at /n: got string, want integer",
		}},
		{`{"n": 1e9999999, "mail": -1E-401}`, []string{"at /mail: the exponent", "at /n: the exponent of a number must be -400 to 400"}},
		{`{"n": 2`, []string{"is not JSON"}},
	} {
		got := compiled.Check(json.RawMessage(tt.value))
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %q, want %q", tt.value, got, tt.want)
			continue
		}
		for i, v := range got {
			if !strings.HasPrefix(v.String(), tt.want[i]) {
				t.Errorf("%s: got %q, want %q", tt.value, v, tt.want[i])
			}
		}
	}
}

// TestSchemaCheckIsBounded: neither many problems nor large values make a large
// report.
func TestSchemaCheckIsBounded(t *testing.T) {
	t.Parallel()
	compiled, err := CompileSchema(Object{"items": map[string]any{"pattern": "^a"}})
	if err != nil {
		t.Fatal(err)
	}
	long, err := json.Marshal(fmt.Sprintf("[%s]", strings.Repeat("b", 10_000)))
	if err != nil {
		t.Fatal(err)
	}
	got := compiled.Check(json.RawMessage("[" + strings.Repeat(string(long)+",", 999) + string(long) + "]"))
	if len(got) != maxProblems || len(got.Error()) > maxProblems*400 {
		t.Errorf("%d violations of %d bytes", len(got), len(got.Error()))
	}
}
