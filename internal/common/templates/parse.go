package templates

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// What a template may be at most. A document with its aliases expanded may
// cost maxCost, counting nodeCost and its text for each value.
const (
	MaxBytes = 1 << 20 // of a document
	MaxSteps = 10_000  // so that ordinals fit into 16 bits

	maxDepth    = 64   // of nesting in a value of free shape
	maxKeyBytes = 1024 // of one key, as in YAML itself
	maxCost     = 4 << 20
	nodeCost    = 16
)

// Parse reads a template from a YAML document. File is its name in messages
// and is not opened.
//
// Parse is strict: keys it does not know, keys set twice, values out of range
// and steps that cannot be ordered are errors. All that is wrong is reported at
// once, as [Problems].
func Parse(file string, data []byte) (*Template, error) {
	t, r := parse(file, data)
	if len(r.problems) > 0 {
		r.problems.sort()
		return nil, r.problems
	}
	return t, nil
}

// parse is Parse with the positions of everything read.
func parse(file string, data []byte) (*Template, *report) {
	r := &report{file: file, at: map[string]position{}, free: map[string]*yaml.Node{}}
	d := decoder{report: r, budget: maxCost}
	root := document(data, r)
	if root == nil || !d.isKind(root, yaml.MappingNode, "") {
		return nil, r
	}
	var t Template
	d.value(root, reflect.ValueOf(&t).Elem(), "", "")
	if d.budget >= 0 { // else not all of it was read
		check(&t, r)
		checkSchemas(&t, r)
	}
	return &t, r
}

// document returns the root of the only document in data, or nil after
// reporting why there is none.
func document(data []byte, r *report) *yaml.Node {
	if len(data) > MaxBytes {
		r.addf("", "has %d bytes, a template may have %d", len(data), MaxBytes)
		return nil
	}
	if pos, problem := unreadable(data); problem != "" {
		r.addAt(pos, "", "%s", problem)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		r.addf("", "is empty, a template has at least name, namespace_name and steps")
		return nil
	}
	if err == nil {
		err = dec.Decode(&second)
	}
	switch {
	case errors.Is(err, io.EOF):
		return doc.Content[0]
	case err == nil:
		r.addAt(position{second.Line, second.Column}, "", "a second document begins here; put each template into a file of its own")
	default:
		message := yamlPrefix.ReplaceAllString(err.Error(), "")
		r.addAt(position{line: syntaxErrorLine(data)}, "", "is not YAML: %s", message)
	}
	return nil
}

// yamlPrefix is how the YAML library begins an error. The line it names is
// often that of the list or mapping around the error.
var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntaxErrorLine finds the line at which data stops being YAML: it follows
// the longest beginning of data that parses.
func syntaxErrorLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	good, bad := 0, len(lines)
search:
	for bad-good > 1 {
		middle := (good + bad) / 2
		// A beginning that ends within brackets or quotes does not parse
		// either, one that ends a few lines later may.
		for end := middle; end < min(middle+4, bad); end++ {
			if parses(bytes.Join(lines[:end], nil)) {
				good = end
				continue search
			}
		}
		bad = middle
	}
	return bad
}

// parses reports whether data is YAML.
func parses(data []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// unreadable returns the first place where data is not text, and why; "" if it
// is text all through.
func unreadable(data []byte) (position, string) {
	pos := position{1, 1}
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1:
			return pos, "is not valid UTF-8 here"
		case c != '\t' && c != '\r' && c != '\n' && unicode.IsControl(c):
			return pos, fmt.Sprintf("control character %U is not allowed; write it as an escape in double quotes", c)
		case c == '\n':
			pos = position{pos.line + 1, 0}
		}
		pos.column++
		data = data[size:]
	}
	return pos, ""
}
