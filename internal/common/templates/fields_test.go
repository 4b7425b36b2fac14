package templates

import (
	"reflect"
	"strings"
	"testing"
)

// TestFieldTags checks that the tags of every key can be understood, and that
// a default keeps the rules of its own field.
func TestFieldTags(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[typ] {
			return
		}
		seen[typ] = true
		for _, f := range fieldsOf(typ) {
			checkTag(t, typ, f)
			walk(typ.Field(f.index).Type)
		}
	}
	walk(reflect.TypeFor[Template]())
	if len(seen) < 10 {
		t.Errorf("visited %d types only", len(seen))
	}
}

func checkTag(t *testing.T, typ reflect.Type, f field) {
	t.Helper()
	name := typ.Name() + "." + typ.Field(f.index).Name
	if f.key == "" {
		t.Errorf("%s has no key", name)
	}
	for _, limits := range []string{f.tag.Get("range"), f.tag.Get("len")} {
		if low, high := bounds(limits); limits != "" && (low >= high || !strings.Contains(limits, "..")) {
			t.Errorf("%s: cannot read %q", name, limits)
		}
	}
	if format := f.tag.Get("format"); format != "" && formats[format].pattern == nil {
		t.Errorf("%s: there is no format %q", name, format)
	}
	if value := f.tag.Get("default"); value != "" {
		v := reflect.New(typ).Elem().Field(f.index)
		setDefault(v, value)
		if problem := complaint(f.tag, v); problem != "" {
			t.Errorf("%s: its default %s", name, problem)
		}
	}
}

// TestFormats shows what names may look like.
func TestFormats(t *testing.T) {
	t.Parallel()
	good := map[string][]string{
		"template_name": {"a", "order.v2-b_c", strings.Repeat("x", 255)},
		"step_name":     {"s", "S1", strings.Repeat("x", 128)},
		"namespace":     {"default", "_9", strings.Repeat("n", 29)},
		"event_name":    {"order.shipped", "done"},
		"version":       {"0.0.0", "1.2.3", "1.0.0-rc.1", "1.0.0-a+b.7"},
	}
	bad := map[string][]string{
		"template_name": {"", "-a", "a b", "é", strings.Repeat("x", 256)},
		"step_name":     {"", "a/b", "a\n", strings.Repeat("x", 129)},
		"namespace":     {"", "Default", "a-b", strings.Repeat("n", 30)},
		"event_name":    {"", ".a", "a..b", "Order"},
		"version":       {"", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "9999999999.0.0", "1.0.0-long.suffix"},
	}
	for name := range formats {
		for _, s := range good[name] {
			if problem := textComplaint(reflect.StructTag(`format:"`+name+`"`), s); problem != "" {
				t.Errorf("%s %q %s", name, s, problem)
			}
		}
		for _, s := range bad[name] {
			if textComplaint(reflect.StructTag(`format:"`+name+`"`), s) == "" {
				t.Errorf("%s %q was accepted", name, s)
			}
		}
		if len(good[name]) == 0 || len(bad[name]) == 0 {
			t.Errorf("no examples of %s", name)
		}
	}
}

// TestDidYouMean shows how near a suggestion must be.
func TestDidYouMean(t *testing.T) {
	t.Parallel()
	known := []string{"name", "namespace_name", "timeout_seconds", "steps"}
	for word, want := range map[string]string{
		"nam":            "name",
		"step":           "steps",
		"TIMEOUT":        "",
		"timeout":        "timeout_seconds",
		"Steps":          "steps",
		"timeout_second": "timeout_seconds",
		"time_out":       "",
		"xy":             "",
		"handlers":       "",
		"":               "",
	} {
		got := didYouMean(word, known)
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		if got != want {
			t.Errorf("didYouMean(%q) = %q, want %q", word, got, want)
		}
	}
}
