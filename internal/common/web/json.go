package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// maxDepth is how deep the objects and arrays of a body may lie within each
// other.
const maxDepth = 100

// jsonFormat reads bodies more strictly than the standard library: what one
// reader takes for this and another for that is refused, and so is what the
// database cannot store.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: huma.DefaultJSONFormat.Marshal,
		Unmarshal: func(data []byte, v any) error {
			if _, first := v.(*any); first { // the library reads a body twice
				if err := checkJSON(data); err != nil {
					return err
				}
			}
			return json.Unmarshal(data, v)
		},
	}
}

// checkJSON refuses JSON that is nested too deep, has a key twice in an object,
// a number beyond the range of float64, the character U+0000, half a surrogate
// pair, or bytes that are no UTF-8.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the JSON is not in UTF-8")
	}
	if !paired(data) {
		return errors.New("the JSON has half a surrogate pair")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var open nesting
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil // an end too early is for the library to find
		}
		if err == nil {
			err = open.take(token)
		}
		if err != nil {
			return err
		}
	}
}

// nesting are the objects and arrays that are being read, the innermost last.
type nesting []level

type level struct {
	keys  map[string]bool // of an object so far; nil: an array
	isKey bool            // the next token is a key, or the end
}

func (n *nesting) take(token json.Token) error {
	key := false
	if inner := len(*n) - 1; inner >= 0 && (*n)[inner].keys != nil {
		key = (*n)[inner].isKey
		(*n)[inner].isKey = !key // after a key comes its value
	}
	switch token := token.(type) {
	case json.Delim:
		return n.turn(token)
	case json.Number:
		f, err := strconv.ParseFloat(string(token), 64)
		if underflow := f == 0 && strings.ContainsAny(mantissa(token), "123456789"); err != nil || underflow {
			return fmt.Errorf("the number %.40s is out of range", token)
		}
	case string:
		if strings.ContainsRune(token, 0) {
			return errors.New("the database cannot store the character U+0000")
		}
		if key {
			return (*n)[len(*n)-1].add(token)
		}
	}
	return nil
}

// turn goes into an object or array, or leaves one.
func (n *nesting) turn(d json.Delim) error {
	switch d {
	case '{':
		*n = append(*n, level{keys: map[string]bool{}, isKey: true})
	case '[':
		*n = append(*n, level{})
	default:
		*n = (*n)[:len(*n)-1]
	}
	if len(*n) > maxDepth {
		return fmt.Errorf("the JSON is nested more than %d levels deep", maxDepth)
	}
	return nil
}

func (l *level) add(key string) error {
	if l.keys[key] {
		return fmt.Errorf("the key %.100q stands twice in an object", key)
	}
	l.keys[key] = true
	return nil
}

// paired reports whether escapes of surrogates come in pairs; the standard
// library puts U+FFFD in the place of others.
func paired(data []byte) bool {
	for {
		at := bytes.IndexByte(data, '\\')
		if at < 0 {
			return true
		}
		data = data[at:]
		unit, escaped := escapedUnit(data)
		switch {
		case !escaped: // two bytes, if it is JSON at all
			data = data[min(2, len(data)):]
		case !utf16.IsSurrogate(unit):
			data = data[6:]
		default:
			low, _ := escapedUnit(data[6:])
			if utf16.DecodeRune(unit, low) == utf8.RuneError {
				return false
			}
			data = data[12:]
		}
	}
}

// escapedUnit reads the UTF-16 code unit at the start of data, if there is one
// written as \uXXXX.
func escapedUnit(data []byte) (unit rune, ok bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return rune(n), err == nil
}

// mantissa is a number without its exponent.
func mantissa(n json.Number) string {
	digits, _, _ := strings.Cut(strings.ToLower(string(n)), "e")
	return digits
}

// checkURL refuses what would be an error of the database later: a path or
// parameters with the character U+0000, or that are no UTF-8.
func checkURL(u *url.URL) error {
	if bad(u.Path) {
		return errors.New("the path is not in UTF-8, or has the character U+0000")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the query is malformed")
	}
	for name, values := range query {
		if bad(name) || bad(strings.Join(values, "")) {
			return errors.New("the query is not in UTF-8, or has the character U+0000")
		}
	}
	return nil
}

func bad(text string) bool { return !utf8.ValidString(text) || strings.ContainsRune(text, 0) }
