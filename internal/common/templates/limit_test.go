package templates

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestKeyFor(t *testing.T) {
	t.Parallel()
	const context = `{"id": "c1", "n": 1.50, "yes": true, "none": null, "list": [{"a": "x"}, 7], "a/b": {"m~n": "deep"}, "": "empty"}`
	tests := []struct{ key, want, problem string }{
		{"plain", "plain", ""},
		{"customer:{{/id}}", "customer:c1", ""},
		{"{{/n}}-{{/yes}}{{/id}}", "1.50-truec1", ""},
		{"{{/list/0/a}} {{/list/1}}", "x 7", ""},
		{"{{/a~1b/m~0n}}", "deep", ""},
		{"{{/nowhere}}", "", "/nowhere is missing"},
		{"{{/list/2}}", "", "/list/2 is missing"},
		{"{{/list/00}}", "", "/list/00 is missing"},
		{"{{/id/more}}", "", "/id/more is missing"},
		{"{{/none}}", "", "/none is null, must be text, a number, or true or false"},
		{"{{/list}}", "", "/list is a list, must be text, a number, or true or false"},
		{"{{/list/0}}", "", "/list/0 is an object, must be text, a number, or true or false"},
		{strings.Repeat("x", 199) + "{{/id}}", "", "has 201 characters with the values of the context, at most 200 are allowed"},
	}
	parsed, err := ParseContext(json.RawMessage(context))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		l := Limit{Key: tt.key}
		got, err := l.KeyFor(parsed)
		if got != tt.want || (err == nil) != (tt.problem == "") || err != nil && !strings.HasSuffix(err.Error(), tt.problem) {
			t.Errorf("%s: got %q, %v, want %q, %q", tt.key, got, err, tt.want, tt.problem)
		}
		if l.Constant() != !strings.Contains(tt.key, "{{") {
			t.Errorf("%s: constant is %t", tt.key, l.Constant())
		}
	}
}
