package templates

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Schema is a compiled JSON Schema. It is safe for concurrent use.
type Schema struct{ compiled *jsonschema.Schema }

// schemaURL names a schema to its library; no file and no server is meant.
const schemaURL = "tasker:///schema"

// CompileSchema compiles a JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12,
// the last unless $schema says otherwise. Formats are asserted, patterns are
// RE2. A $ref may point into the schema itself; nothing is ever loaded from a
// file or a server. The error is a [Violations] with pointers into the schema.
func CompileSchema(o Object) (*Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(noLoader{})
	if err := c.AddResource(schemaURL, map[string]any(o)); err != nil {
		return nil, schemaFault(err)
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, schemaFault(err)
	}
	return &Schema{compiled}, nil
}

// A noLoader refuses what stands outside the schema: a template must not make a
// server read files or call addresses.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("only references into the schema itself are allowed, such as #/$defs/name")
}

// A Violation is one way in which a value breaks a schema.
type Violation struct {
	Pointer string // into the value (RFC 6901); empty for all of it
	Message string
}

// Violations are all of them, by pointer.
type Violations []Violation

// Error returns the violations, one a line.
func (vs Violations) Error() string {
	lines := make([]string, len(vs))
	for i, v := range vs {
		lines[i] = v.String()
	}
	return strings.Join(lines, "\n")
}

// String is "at /pointer: message", without the pointer for the value itself.
func (v Violation) String() string {
	if v.Pointer == "" {
		return v.Message
	}
	return "at " + v.Pointer + ": " + v.Message
}

// maxExponent bounds the powers of ten that are reckoned with; beyond, a number
// of a few bytes would take megabytes.
const maxExponent = 400

// Check returns how a JSON value breaks the schema, nothing when it does not.
// Of more than maxProblems violations only the first are returned.
func (s *Schema) Check(raw json.RawMessage) Violations {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return Violations{{Message: "is not JSON: " + err.Error()}}
	}
	if vs := hugeNumbers(value, "", nil); len(vs) > 0 {
		return sorted(vs)
	}
	broken, ok := errors.AsType[*jsonschema.ValidationError](s.compiled.Validate(value))
	if !ok {
		return nil
	}
	return sorted(leaves(broken, nil))
}

// sorted brings violations into an order that is always the same.
func sorted(vs Violations) Violations {
	slices.SortStableFunc(vs, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Message, b.Message))
	})
	return vs
}

// leaves collects the violations that others only sum up.
func leaves(e *jsonschema.ValidationError, vs Violations) Violations {
	if len(vs) == maxProblems {
		return vs
	}
	if len(e.Causes) == 0 {
		return append(vs, Violation{pointer(e.InstanceLocation), shortened(e.BasicOutput().Error.String())})
	}
	for _, cause := range e.Causes {
		vs = leaves(cause, vs)
	}
	return vs
}

// shortened bounds a message that quotes a value.
func shortened(message string) string {
	const most = 300
	if r := []rune(message); len(r) > most {
		return string(r[:most]) + "…"
	}
	return message
}

// hugeNumbers reports numbers whose exponents are beyond maxExponent.
func hugeNumbers(value any, at string, vs Violations) Violations {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			vs = hugeNumbers(inner, at+"/"+escaped(key), vs)
		}
	case []any:
		for i, inner := range v {
			vs = hugeNumbers(inner, at+"/"+strconv.Itoa(i), vs)
		}
	case json.Number:
		_, exponent, has := strings.Cut(strings.ToLower(string(v)), "e")
		if n, err := strconv.Atoi(exponent); has && (err != nil || n > maxExponent || n < -maxExponent) {
			vs = append(vs, Violation{at, fmt.Sprintf("the exponent of a number must be -%d to %d", maxExponent, maxExponent)})
		}
	}
	return vs
}

// pointer joins tokens to a JSON pointer.
func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString("/" + escaped(t))
	}
	return b.String()
}

// escaped writes a token of a JSON pointer (RFC 6901, section 3).
func escaped(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
}

// schemaFault says what is wrong with a schema, and where.
func schemaFault(err error) Violations {
	if broken, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if inner, ok := errors.AsType[*jsonschema.ValidationError](broken.Err); ok {
			return sorted(leaves(inner, nil))
		}
	}
	if outside, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return Violations{{Message: fmt.Sprintf("refers to %.200q: %v", outside.URL, outside.Err)}}
	}
	return Violations{{Message: strings.ReplaceAll(err.Error(), schemaURL, "")}}
}
