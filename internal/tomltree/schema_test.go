package tomltree

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestNodes checks what a schema says of its keys.
func TestNodes(t *testing.T) {
	t.Parallel()
	var got []string
	sampleSchema.Root().walk(func(n *Node) {
		kind := [...]string{Leaf: "leaf", Section: "section", Named: "named", Rows: "rows"}[n.Kind]
		text := n.Key + " " + kind
		if n.Optional {
			text += " optional"
		}
		got = append(got, strings.TrimSpace(text+" "+n.Range+n.Len+n.Format+strings.Join(n.Enum, "|")))
	})
	want := `section; on leaf; level leaf low|high; password leaf ..8; inner section; inner.size leaf 1..100; inner.share leaf 0..1; ` +
		`option section optional; option.size leaf 1..100; option.share leaf 0..1; named named; named.* section; named.*.size leaf 1..100; ` +
		`named.*.share leaf 0..1; waits leaf 0..601..3; levels leaf optional low|high; rows ` + `rows optional; rows.* section; rows.*.size leaf 1..100; ` +
		`rows.*.share leaf 0..1; mail leaf optional mail; extra section optional; extra.depth leaf optional 1..10; name leaf 1..5`
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("nodes are\n%s\nwant\n%s", text, want)
	}
}

// TestSecretsByName: a tag that was forgotten shows nothing.
func TestSecretsByName(t *testing.T) {
	t.Parallel()
	type doc struct {
		DBPassword string `toml:"db_password"`
		Token      string `toml:"access_token"`
		Expiry     int    `toml:"token_expiry_hours"`
		Header     string `toml:"api_key_header" secret:"false"`
		Key        string `toml:"key" secret:"true"`
		Name       string `toml:"name"`
	}
	s := NewSchema(reflect.TypeFor[doc](), nil)
	if got, want := s.Secrets(), []string{"db_password", "access_token", "key"}; !slices.Equal(got, want) {
		t.Errorf("secrets are %q, want %q", got, want)
	}
	tree, _ := Parse("x", []byte("db_password = 'a'\naccess_token = ''\ntoken_expiry_hours = 24\napi_key_header = 'X-API-Key'\nkey = 'b'\nname = 'http://u:p@h/'"))
	redacted, keys := s.Redact(tree)
	data, err := redacted.MarshalJSON()
	want := `{"db_password":"***","access_token":"","token_expiry_hours":24,"api_key_header":"X-API-Key","key":"***","name":"http://***@h/"}`
	if err != nil || string(data) != want || !slices.Equal(keys, []string{"db_password", "key", "name"}) {
		t.Errorf("got %s (%v), %q; want %s", data, err, keys, want)
	}
}

// TestBlend takes some keys from another tree.
func TestBlend(t *testing.T) {
	t.Parallel()
	a, _ := Parse("a", []byte("x = 1\ny = 2\n[t]\nx = 3\ny = 4\n[t.a]\nx = 5"))
	b, _ := Parse("b", []byte("x = 10\ny = 20\nz = 30\n[t]\ny = 40\nx = [1]\n[t.b]\nx = 50"))
	got := Encode(Blend(a, b, func(key string) bool { return strings.HasSuffix(key, "x") }))
	if want := "x = 10\ny = 2\n\n[t]\nx = [1]\ny = 4\n\n[t.a]\nx = 5\n"; string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"on": "on", "inner.size": "inner.size", "named.a.size": "named.*.size", "waits.0": "waits", "rows.0.size": "rows",
		"inner": "", "named.a": "", "named.a.none": "", "on2": "", "": "",
	} {
		got := ""
		if f := sampleSchema.Field(key); f != nil {
			got = f.Key
		}
		if got != want {
			t.Errorf("the field of %s is %q, want %q", key, got, want)
		}
	}
}

func TestSameAs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1", "1", true},
		{"1", "1.0", true},
		{"1_000", "1000", true},
		{`"x"`, "'x'", true},
		{"[1, 2]", "[1,2]", true},
		{`"${A:-x}"`, `"${A:-x}"`, true},
		{"1", "2", false},
		{"1", `"1"`, false},
		{"[1]", "[1, 2]", false},
		{"[1]", "[2]", false},
		{`"${A:-aval}"`, `"aval"`, false},
		{`"http://a@x"`, `"http://b@x"`, false},
		{"{}", "{}", false},
	} {
		tree, _, _ := Expand(parse(t, "f.toml", []byte(fmt.Sprintf("a = %s\nb = %s", c.a, c.b))), Variables{Lookup: lookup, Allowed: allowed})
		if got := tree.Lookup("a").SameAs(tree.Lookup("b")); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
