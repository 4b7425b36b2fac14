package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"b": 1, "a": [true, null, "x"], "": {}}`:          `{"":{},"a":[true,null,"x"],"b":1}`,
		`{"a": 1, "a": 2}`:                                  `{"a":2}`, // as jsonb has it
		`"\u00e9\/\n"`:                                      `"é/\n"`,
		`[0, -0, 0.00, 0e9]`:                                `[0,0,0,0]`,
		`[1200, 1.2e3, 12E+2, 0.12e4, 1200.0]`:              `[12e2,12e2,12e2,12e2,12e2]`,
		`[-0.05, 5e-2, 9007199254740993]`:                   `[-5e-2,5e-2,9007199254740993]`,
		`[1e99999999999999999999, 10e99999999999999999998]`: `[1e99999999999999999999,1e99999999999999999999]`,
	} {
		got, err := canonicalJSON([]byte(raw))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", raw, got, err, want)
		}
	}
}

// value draws a JSON value of up to some depth. Numbers are texts of JSON.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 6
		if depth == 0 {
			kinds = 4
		}
		switch rapid.IntRange(1, kinds).Draw(t, "kind") {
		case 1:
			return nil
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return rapid.StringMatching(`[a-c é"\\<]{0,3}`).Draw(t, "text")
		case 4:
			return json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,2})(\.[0-9]{1,3})?(e[+-]?[0-9])?`).Draw(t, "number"))
		case 5:
			return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "list")
		default:
			return rapid.MapOfN(rapid.StringMatching(`[a-c]{0,2}`), value(depth-1), 0, 4).Draw(t, "object")
		}
	})
}

// write writes a value with its keys in a drawn order, white space, and numbers
// and texts in other words.
func write(t *rapid.T, to *strings.Builder, v any) {
	space := func() { to.WriteString(rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")) }
	space()
	switch v := v.(type) {
	case map[string]any:
		to.WriteString("{")
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		for i, key := range rapid.Permutation(keys).Draw(t, "order") {
			if i > 0 {
				to.WriteString(",")
			}
			write(t, to, key)
			to.WriteString(":")
			write(t, to, v[key])
		}
		to.WriteString("}")
	case []any:
		to.WriteString("[")
		for i, item := range v {
			if i > 0 {
				to.WriteString(",")
			}
			write(t, to, item)
		}
		to.WriteString("]")
	case json.Number:
		mantissa, exponent, has := strings.Cut(string(v), "e")
		power := new(big.Int)
		if has {
			power.SetString(strings.TrimPrefix(exponent, "+"), 10)
		}
		if !strings.Contains(mantissa, ".") {
			mantissa += "."
		}
		zeros := rapid.IntRange(0, 3).Draw(t, "zeros")
		fmt.Fprintf(to, "%s0%sE%s", mantissa, strings.Repeat("0", zeros), power)
	case string:
		if rapid.Bool().Draw(t, "escaped") {
			to.WriteString(`"`)
			for _, c := range v {
				fmt.Fprintf(to, `\u%04X`, c)
			}
			to.WriteString(`"`)
			break
		}
		raw, _ := json.Marshal(v)
		to.Write(raw)
	default:
		raw, _ := json.Marshal(v)
		to.Write(raw)
	}
	space()
}

// equal compares values as mathematics does, not as texts.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for key, v := range a {
			if w, has := other[key]; !has || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for i := range a {
			if !equal(a[i], other[i]) {
				return false
			}
		}
		return true
	case json.Number:
		other, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, _ := new(big.Rat).SetString(string(a))
		y, _ := new(big.Rat).SetString(string(other))
		return x.Cmp(y) == 0
	default:
		return a == b
	}
}

// TestIdentityLaws: how a context is written changes nothing, what it says does.
// Nor are tasks of two templates ever the same, nor a key and a context.
func TestIdentityLaws(t *testing.T) {
	t.Parallel()
	one := &templates.Template{Namespace: "n", Name: "t", Version: "1.0.0"}
	other := &templates.Template{Namespace: "n", Name: "t", Version: "1.0.1"}
	rapid.Check(t, func(t *rapid.T) {
		of := func(v any) []byte {
			var text strings.Builder
			write(t, &text, v)
			canonical, err := canonicalJSON([]byte(text.String()))
			if err != nil {
				t.Fatalf("%s: %v", text.String(), err)
			}
			return canonical
		}
		a, b := value(3).Draw(t, "a"), value(3).Draw(t, "b")
		if !bytes.Equal(identity(one, of(a)), identity(one, of(a))) {
			t.Fatalf("%v is not the same as itself", a)
		}
		if same := bytes.Equal(identity(one, of(a)), identity(one, of(b))); same != equal(a, b) {
			t.Fatalf("%v and %v: the same is %t", a, b, same)
		}
		if bytes.Equal(identity(one, of(a)), identity(other, of(a))) {
			t.Fatalf("%v is the same in two versions", a)
		}
		if object, ok := a.(map[string]any); ok && bytes.Equal(of(object), canonicalText(string(of(object)))) {
			t.Fatalf("%v is the same as a key", a)
		}
	})
}
