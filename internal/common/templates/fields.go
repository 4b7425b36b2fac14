package templates

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A field is what the tags of a struct field say about a key:
//
//	json:"name"       the key, in YAML as in the canonical definition
//	alias:"other"     another spelling of the key in YAML
//	required:"true"   the key must be present
//	unless:"a=b"      save where the key a has the value b
//	default:"value"   what an absent key means
//	range:"1..100"    the least and the greatest number
//	len:"1..500"      the shortest and the longest text, in characters
//	oneof:"a|b"       the words allowed
//	format:"version"  the name of one of the formats
type field struct {
	index    int
	key      string
	alias    string
	required bool
	tag      reflect.StructTag
}

// fieldsOf lists the keys of the struct type typ.
func fieldsOf(typ reflect.Type) []field {
	fields := make([]field, typ.NumField())
	for i := range fields {
		tag := typ.Field(i).Tag
		key, _, _ := strings.Cut(tag.Get("json"), ",")
		fields[i] = field{i, key, tag.Get("alias"), tag.Get("required") == "true", tag}
	}
	return fields
}

// mayLack reports whether the key of f may be absent from v.
func (f *field) mayLack(v reflect.Value, fields []field) bool {
	key, value, ok := strings.Cut(f.tag.Get("unless"), "=")
	other := find(fields, key)
	return !f.required || ok && other != nil && v.Field(other.index).String() == value
}

// A format is a rule for text that stands in several places or as SQL and URLs
// see it.
type format struct {
	pattern *regexp.Regexp
	longest int // in characters
	words   string
}

// word is what names are made of: they stand in URLs, logs and queue names.
const word = `[A-Za-z0-9][A-Za-z0-9_.-]*`

// formats are the rules that a format tag can name.
var formats = map[string]format{
	"template_name": {
		regexp.MustCompile(`^` + word + `$`), 255,
		"letters, digits, _ . - (the first a letter or digit), at most 255",
	},
	"step_name": {
		regexp.MustCompile(`^` + word + `$`), 128,
		"letters, digits, _ . - (the first a letter or digit), at most 128",
	},
	"namespace": {
		regexp.MustCompile(`^[a-z0-9_]+$`), 29,
		"lower-case letters, digits and _, at most 29",
	},
	"event_name": {
		regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`), 255,
		"lower-case words joined by dots, such as order.shipped",
	},
	// https://semver.org, sections 2, 9 and 10; the numbers fit into an int of SQL.
	"version": {
		regexp.MustCompile(`^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})` +
			`(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?` +
			`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`), 16,
		"a semantic version such as 1.0.0, at most 16 characters",
	},
}

// complaint says what the rules in tag hold against the scalar v; empty means
// nothing.
func complaint(tag reflect.StructTag, v reflect.Value) string {
	switch v.Kind() {
	case reflect.Int:
		limits := tag.Get("range")
		if low, high := bounds(limits); limits != "" && (v.Int() < low || v.Int() > high) {
			return fmt.Sprintf("is %d, must be %d to %d", v.Int(), low, high)
		}
	case reflect.String:
		return textComplaint(tag, v.String())
	default: // no rules for other kinds
	}
	return ""
}

// textComplaint is complaint for text.
func textComplaint(tag reflect.StructTag, s string) string {
	length := int64(utf8.RuneCountInString(s))
	if limits := tag.Get("len"); limits != "" {
		if low, high := bounds(limits); length < low || length > high {
			return fmt.Sprintf("has %d characters, must have %d to %d", length, low, high)
		}
	}
	if name := tag.Get("format"); name != "" {
		if f := formats[name]; length > int64(f.longest) || !f.pattern.MatchString(s) {
			return fmt.Sprintf("is %.80q, must be %s", s, f.words)
		}
	}
	if list := tag.Get("oneof"); list != "" {
		words := strings.Split(list, "|")
		if slices.Contains(words, s) {
			return ""
		}
		return fmt.Sprintf("is %.80q, must be one of %s%s", s, strings.Join(words, ", "), didYouMean(s, words))
	}
	return ""
}

// bounds reads "1..100"; a tag that does not read so is caught by a test.
func bounds(s string) (low, high int64) {
	a, b, _ := strings.Cut(s, "..")
	low, _ = strconv.ParseInt(a, 10, 64)
	high, _ = strconv.ParseInt(b, 10, 64)
	return low, high
}

// setDefault gives the field v the value that the default tag spells.
func setDefault(v reflect.Value, value string) {
	if v.Kind() == reflect.String {
		v.SetString(value)
		return
	}
	n, _ := strconv.ParseInt(value, 10, 64)
	v.SetInt(n)
}
