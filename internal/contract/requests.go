package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Generator makes requests out of what a document says: most of them are
// nearly right, and wrong in one place or another. It is for one goroutine.
type Generator struct {
	*Contract
	*rand.Rand

	// Known are values, by the name of a parameter or property, that mean something
	// to the server; most requests have them.
	Known map[string][]string

	ids []string // seen in answers
}

// Request makes a request for any of the operations.
func (g *Generator) Request() (*http.Request, error) {
	o := g.operations[g.IntN(len(g.operations))]
	for strings.HasSuffix(o.Path, "/stream") { // that goes on for as long as somebody reads
		o = g.operations[g.IntN(len(g.operations))]
	}
	path, query, header := o.Path, url.Values{}, http.Header{}
	for _, p := range o.Parameters {
		if !p.Required && g.IntN(3) > 0 {
			continue
		}
		value, known := g.known(p.Name)
		if !known {
			value = g.text(p.Schema)
		}
		switch p.In {
		case "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(value))
		case "query":
			query.Set(p.Name, value)
		case "header":
			header.Set(p.Name, strings.Map(printable, value))
		}
	}
	if g.IntN(50) == 0 {
		query.Set(g.nasty(), g.nasty())
	}
	body := ""
	if o.Body != nil {
		raw, err := json.Marshal(g.value(*o.Body, 0))
		if err != nil {
			return nil, err
		}
		body = g.spoil(string(raw))
	}
	// What a client could not send, a proxy in between would not pass on.
	target, err := url.Parse("http://tasker.test" + path + "?" + query.Encode())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	header.Set("Content-Type", "application/json")
	return &http.Request{
		Method: o.Method, URL: target, Header: header, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: &textBody{strings.NewReader(body)}, ContentLength: int64(len(body)), RequestURI: target.RequestURI(), RemoteAddr: "127.0.0.1:9",
	}, nil
}

// A textBody shows in messages.
type textBody struct{ *strings.Reader }

func (*textBody) Close() error { return nil }

// String is all of the body.
func (b *textBody) String() string {
	all := make([]byte, b.Size())
	_, _ = b.ReadAt(all, 0) // of as many bytes as there are
	return string(all)
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// Learn remembers ids that an answer has, so that later requests are about
// something that exists.
func (g *Generator) Learn(answer []byte) {
	for part := range strings.SplitSeq(string(answer), `"`) {
		if len(part) == 36 && strings.Count(part, "-") == 4 && len(g.ids) < 1000 {
			g.ids = append(g.ids, part)
		}
	}
}

// nasty is a text that somebody who means harm might send.
func (g *Generator) nasty() string {
	return g.one(
		"'; drop table tasker.tasks; --", `" or "1"="1`, "$1", "$$", "\\", "%", "_", "{{7*7}}", "${DATABASE_URL}", "../../etc/passwd", "..%2f..", "\x00", "a\x00b",
		"\r\nX-Evil: yes", "\xff\xfe", "\u202e", "💥", "NaN", "Infinity", "-0", "1e400", "99999999999999999999", "-9223372036854775809", "null", "true", "",
		" ", "\t", "{", "[", "{}", `{"a":1}`, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "292277026596-12-04T15:30:07Z", "-4714-01-01T00:00:00Z",
		"2026-02-30T00:00:00Z", "2026-11-24T16:00:00+23:59", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"$", "$.a", "$.**", "$.** ? (@ == 1)", `$ ? (@ like_regex "(a+)+$")`, `$.a like_regex "["`, "$[last]", "$.a.datetime()", "strict $.x", "$.a / 0", "$[2147483648]",
		"@", "$x", strings.Repeat("(", 900), strings.Repeat("$.a+", 200)+"1", strings.Repeat("é", 3000), "shapes", "diamond", "1.2.0", "other", "start", "left",
		"* * * * *", "@every 1s", "61 * * * *", "wait=1", "wait=-1", "wait=99999999999999999999", "0s", "1ns", "-1h", "https://example.com/", "http://169.254.169.254/",
		"file:///etc/passwd", "https://user:pass@[::1]:0/", "Europe/Berlin", "Mars/Phobos",
	)
}

func (g *Generator) one(values ...string) string { return values[g.IntN(len(values))] }

func (g *Generator) known(name string) (string, bool) {
	values := g.Known[name]
	if len(values) == 0 || g.IntN(8) == 0 {
		return "", false
	}
	return g.one(values...), true
}

// text is a value for a parameter.
func (g *Generator) text(s Schema) string {
	s = g.resolve(s)
	if g.IntN(6) == 0 {
		return g.nasty()
	}
	switch v := g.value(s, 0).(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = fmt.Sprint(v[i])
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}

// value makes a value that a schema allows, or one time in twelve another.
func (g *Generator) value(s Schema, depth int) any {
	s = g.resolve(s)
	if len(s) == 0 || depth > 6 || g.IntN(12) == 0 {
		return g.anything(depth)
	}
	if allowed, ok := s["enum"].([]any); ok {
		return allowed[g.IntN(len(allowed))]
	}
	kind, ok := s["type"].(string)
	if kinds, several := s["type"].([]any); several && len(kinds) > 0 {
		kind, ok = kinds[g.IntN(len(kinds))].(string)
	}
	if !ok {
		return g.anything(depth)
	}
	switch kind {
	case "object":
		return g.object(s, depth)
	case "array":
		items, _ := s["items"].(map[string]any)
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.value(items, depth+1))
		}
		return list
	case "string":
		return g.word(s)
	case "integer", "number":
		return g.number(s)
	case "boolean":
		return g.IntN(2) == 0
	}
	return nil
}

func (g *Generator) object(s Schema, depth int) any {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	object := map[string]any{}
	for name, schema := range properties {
		property, _ := schema.(map[string]any)
		needed := slices.Contains(required, any(name))
		if needed && g.IntN(30) > 0 || !needed && g.IntN(3) == 0 {
			object[name] = g.value(property, depth+1)
			if value, known := g.known(name); known {
				object[name] = value
			}
		}
	}
	if len(properties) == 0 || g.IntN(20) == 0 {
		for range g.IntN(3) {
			object[g.nasty()] = g.anything(depth + 1)
		}
	}
	return object
}

func (g *Generator) word(s Schema) string {
	switch {
	case s["format"] == "uuid" && len(g.ids) > 0 && g.IntN(4) > 0:
		return g.ids[g.IntN(len(g.ids))]
	case s["format"] == "uuid":
		return "019a0000-0000-7000-8000-000000000000"
	case s["format"] == "date-time" && g.IntN(3) > 0:
		return g.one("2026-11-24T16:00:00Z", "2027-01-01T00:00:00.123456789+01:00", "1970-01-01T00:00:00Z")
	}
	return g.nasty()
}

func (g *Generator) number(s Schema) any {
	low, hasLow := s["minimum"].(float64)
	high, hasHigh := s["maximum"].(float64)
	switch {
	case g.IntN(8) == 0:
		return json.Number(g.one("0", "-1", "2147483648", "9223372036854775807", "1e308", "1.5", "-0", "1e-300"))
	case hasLow && hasHigh:
		return int64(low) + g.Int64N(int64(high-low)+1)
	case hasLow:
		return int64(low) + g.Int64N(100)
	}
	return g.Int64N(100)
}

// anything is any JSON.
func (g *Generator) anything(depth int) any {
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return g.number(Schema{})
	case 3:
		return json.Number(strconv.Itoa(g.IntN(3)) + "e" + strconv.Itoa(g.IntN(300)))
	case 4:
		if depth > 4 {
			return []any{}
		}
		return []any{g.anything(depth + 1), g.anything(depth + 1)}
	case 5:
		if depth > 4 {
			return map[string]any{}
		}
		return map[string]any{g.nasty(): g.anything(depth + 1)}
	case 6:
		var nested any = "deep"
		for range g.IntN(150) {
			nested = []any{nested}
		}
		return nested
	}
	return g.nasty()
}

// spoil breaks one body in twenty.
func (g *Generator) spoil(body string) string {
	switch g.IntN(60) {
	case 0:
		return body[:g.IntN(len(body)+1)]
	case 1:
		return strings.Replace(body, `"`, `"\ud800`, 1)
	case 2:
		return strings.Replace(body, "{", `{"reason":1,"reason":2,`, 1)
	}
	return body
}
