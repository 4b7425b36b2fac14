package templates

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkSchemas reports what is wrong with the JSON Schemas of a template.
func checkSchemas(t *Template, r *report) {
	checkSchema(t.InputSchema, "input_schema", r)
	for i, e := range t.DomainEvents {
		checkSchema(e.Schema, fmt.Sprintf("domain_events[%d].schema", i), r)
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		checkSchema(s.ResultSchema, fmt.Sprintf("steps[%d].result_schema", i), r)
		for j, e := range s.PublishesEvents {
			checkSchema(e.Schema, fmt.Sprintf("steps[%d].publishes_events[%d].schema", i, j), r)
		}
	}
}

// checkSchema reports what is wrong with the schema at path.
func checkSchema(schema Object, path string, r *report) {
	if len(schema) == 0 || r.full() {
		return
	}
	_, err := CompileSchema(schema)
	violations, _ := errors.AsType[Violations](err)
	for _, v := range violations {
		pos, within := r.within(path, v.Pointer)
		r.addAt(pos, within, "is no valid JSON Schema: %s", v.Message)
	}
}

// within returns where the value stands that a JSON pointer means within the
// value of free shape at path, and its own path.
func (r *report) within(path, pointer string) (position, string) {
	n, pos := r.free[path], r.position(path)
	for token := range strings.SplitSeq(pointer, "/") {
		if token == "" || n == nil {
			continue // the empty token before the first slash
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		value, at := child(n, token)
		switch {
		case value == nil:
			return pos, path
		case n.Kind == yaml.SequenceNode:
			path += "[" + token + "]"
		default:
			path += "." + token
		}
		pos, n = position{at.Line, at.Column}, value
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
	}
	return pos, path
}

// child returns the value that a token of a JSON pointer means in n, and what
// shows where it stands: its key, or itself in a list. Nil if there is none.
func child(n *yaml.Node, token string) (value, at *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == token {
			return n.Content[i+1], n.Content[i]
		}
	}
	return nil, nil
}
