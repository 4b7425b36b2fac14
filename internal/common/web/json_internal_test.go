package web

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`{"a":[`, n/2) + strings.Repeat(`]}`, n/2) }
	for _, tt := range []struct{ json, says string }{
		{`{"a": {"a": 1, "b": ["a", "a", {"a": null}]}, "b": {}}`, ""},
		{`"a"`, ""},
		{`[1e308, -1.7e308, 0e999, 0.000, 123456789012345678901234567890]`, ""},
		{`["\ud83d\ude00", "é", "\\u0000"]`, ""},
		{deep(100), ""},
		{deep(102), "more than 100 levels"},
		{strings.Repeat("[", 200_000), "more than 100 levels"},
		{`{"a": 1, "a": 2}`, `key "a" stands twice`},
		{`[{"b": {"x": [{}], "\u0078": 2}}]`, `key "x" stands twice`},
		{`{"a": "\u0000"}`, "U+0000"},
		{`{"\u0000": 1}`, "U+0000"},
		{"\"\xff\"", "UTF-8"},
		{`"\ud800"`, "surrogate"},
		{`["\udc00\ud800"]`, "surrogate"},
		{`1e309`, "out of range"},
		{`-1e400`, "out of range"},
		{`1e-400`, "out of range"},
		{`{"a"`, ""}, // the library says what is wrong
	} {
		err := checkJSON([]byte(tt.json))
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%.60s: got %v, want %q", tt.json, err, tt.says)
		}
	}
}

// FuzzCheckJSON: what is let through has one meaning, and a bounded depth.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a": [1, {"b": "\ud83d\ude00"}]}`, `{"a": 1, "a": 2}`, `1e-400`, `"\u0000"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if checkJSON(data) != nil || json.Unmarshal(data, &v) != nil {
			return
		}
		if again, err := json.Marshal(v); err != nil || strings.Contains(string(again), `\u0000`) || strings.Contains(string(again), `\ufffd`) && !strings.Contains(string(data), "\ufffd") && !strings.Contains(strings.ToLower(string(data)), `\ufffd`) {
			t.Errorf("%q becomes %s, %v", data, again, err)
		}
	})
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for raw, fine := range map[string]bool{
		"/a?b=c%20d&e=%C3%A9": true, "/%C3%A9": true, "/%00": false, "/a%ff": false, "/?a=%00": false, "/?%00=a": false, "/?a=%ff": false, "/?a=%zz": false,
		"/?a;b": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkURL(u); (err == nil) != fine {
			t.Errorf("%s: got %v", raw, err)
		}
	}
}
