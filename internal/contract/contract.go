// Package contract holds what servers answer to their OpenAPI documents, in
// tests.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Contract is an OpenAPI document. It is safe for concurrent use.
type Contract struct {
	operations []Operation
	named      map[string]Schema
	compiler   *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema
	seen    map[string]bool // METHOD path status
}

// An Operation is one route of a document.
type Operation struct {
	ID, Method, Path string
	Parameters       []Parameter
	Body             *Schema                        // nil: it takes none
	Statuses         map[string]map[string]struct{} // with the media types of each
}

// A Parameter is what a request may say besides its body.
type Parameter struct {
	Name, In string
	Required bool
	Schema   Schema
}

// A Schema is a JSON Schema.
type Schema map[string]any

const location = "openapi.json"

// New reads a document.
func New(document []byte) (*Contract, error) {
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	c := &Contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(location, raw); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	var doc struct {
		Components struct{ Schemas map[string]Schema }
		Paths      map[string]map[string]struct {
			OperationID string
			Parameters  []Parameter
			RequestBody *struct {
				Content map[string]struct{ Schema Schema }
			}
			Responses map[string]struct{ Content map[string]struct{} }
		}
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	c.named = doc.Components.Schemas
	for path, methods := range doc.Paths {
		for method, op := range methods {
			o := Operation{ID: op.OperationID, Method: strings.ToUpper(method), Path: path, Parameters: op.Parameters, Statuses: map[string]map[string]struct{}{}}
			if op.RequestBody != nil {
				schema := op.RequestBody.Content["application/json"].Schema
				o.Body = &schema
			}
			for status, r := range op.Responses {
				o.Statuses[status] = r.Content
			}
			c.operations = append(c.operations, o)
		}
	}
	slices.SortFunc(c.operations, func(a, b Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return c, nil
}

// Operations are the routes, by path and method.
func (c *Contract) Operations() []Operation { return c.operations }

// Find returns the operation that answers to a path; a literal segment counts
// more than one in braces.
func (c *Contract) Find(method, path string) (Operation, bool) {
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(path, "/")
	var best Operation
	literal := -1
	for _, o := range c.operations {
		if n := fit(strings.Split(o.Path, "/"), segments); o.Method == method && n > literal {
			best, literal = o, n
		}
	}
	return best, literal >= 0
}

// fit counts the literal segments that a path and a template share; -1: it does
// not fit.
func fit(template, path []string) int {
	if len(template) != len(path) {
		return -1
	}
	literal := 0
	for i, part := range template {
		switch {
		case strings.HasPrefix(part, "{") && path[i] != "":
		case part == path[i]:
			literal++
		default:
			return -1
		}
	}
	return literal
}

// Check says how an answer breaks the document. An answer of a route that the
// document does not have must be a problem.
func (c *Contract) Check(method, path string, status int, header http.Header, body []byte) error {
	if status == http.StatusRequestHeaderFieldsTooLarge {
		return nil // the standard library answers before there is a request
	}
	o, ok := c.Find(method, path)
	if !ok {
		if status < http.StatusBadRequest {
			return nil // routes outside of the document, such as the metrics
		}
		return c.validate("#/components/schemas/Problem", body)
	}
	code := strconv.Itoa(status)
	media, ok := o.Statuses[code]
	if !ok {
		return fmt.Errorf("%s %s: the document has no status %s: %.300s", o.Method, o.Path, code, body)
	}
	c.mu.Lock()
	c.seen[o.Method+" "+o.Path+" "+code] = true
	c.mu.Unlock()
	if len(media) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%s %s: status %s has a body: %.300s", o.Method, o.Path, code, body)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if _, known := media[kind]; err != nil || !known {
		return fmt.Errorf("%s %s: the document has no media type %q for status %s", o.Method, o.Path, header.Get("Content-Type"), code)
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	pointer := strings.Join([]string{"#/paths", escape(o.Path), strings.ToLower(o.Method), "responses", code, "content", escape(kind), "schema"}, "/")
	if err := c.validate(pointer, body); err != nil {
		return fmt.Errorf("%s %s, status %s: %w in %.500s", o.Method, o.Path, code, err, body)
	}
	return nil
}

// Unseen are the operations that no answer of success was checked of.
func (c *Contract) Unseen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unseen []string
	for _, o := range c.operations {
		succeeded := false
		for code := range o.Statuses {
			succeeded = succeeded || code < "300" && c.seen[o.Method+" "+o.Path+" "+code]
		}
		if !succeeded {
			unseen = append(unseen, o.Method+" "+o.Path)
		}
	}
	return unseen
}

// resolve follows the reference of a schema, if it is one.
func (c *Contract) resolve(s Schema) Schema {
	ref, _ := s["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok {
		return c.named[name]
	}
	return s
}

func escape(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(token)
}

func (c *Contract) validate(pointer string, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile(location + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	return schema.Validate(value)
}
