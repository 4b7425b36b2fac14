package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

func newConfigSchemaCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the files, for editors",
		Long: "Print a JSON Schema of the files, for editors that know TOML. It goes for base files,\n" +
			"overlays and generated files, so no key is required. Write its name into the first\n" +
			"line of a file: #:schema ./tasker.schema.json",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := jsonSchema()
			if err != nil {
				return err
			}
			return printJSON(env, s)
		},
	}
}

// schemaNode is a part of a JSON Schema, in words that drafts 4 to 7 share.
type schemaNode struct {
	Schema      string                 `json:"$schema,omitempty"`
	Title       string                 `json:"title,omitempty"`
	Description string                 `json:"description,omitempty"`
	Type        string                 `json:"type,omitempty"`
	Enum        []string               `json:"enum,omitempty"`
	Pattern     string                 `json:"pattern,omitempty"`
	Minimum     *json.Number           `json:"minimum,omitempty"`
	Maximum     *json.Number           `json:"maximum,omitempty"`
	MinLength   *json.Number           `json:"minLength,omitempty"`
	MaxLength   *json.Number           `json:"maxLength,omitempty"`
	MinItems    *json.Number           `json:"minItems,omitempty"`
	MaxItems    *json.Number           `json:"maxItems,omitempty"`
	Items       *schemaNode            `json:"items,omitempty"`
	AnyOf       []*schemaNode          `json:"anyOf,omitempty"`
	Properties  map[string]*schemaNode `json:"properties,omitempty"`
	Patterns    map[string]*schemaNode `json:"patternProperties,omitempty"`
	Others      any                    `json:"additionalProperties,omitempty"` // false or a schema
	Required    []string               `json:"required,omitempty"`
	Default     *tomltree.Value        `json:"default,omitempty"`
}

// placeholderPattern is what a string with a placeholder looks like.
const placeholderPattern = `\$\{[A-Za-z_]`

// jsonSchema returns the schema of the files.
func jsonSchema() (*schemaNode, error) {
	root, err := tableSchema(config.Reference())
	if err != nil {
		return nil, err
	}
	root.Schema = "http://json-schema.org/draft-07/schema#"
	root.Title = "Configuration of Tasker"
	environment, err := entrySchema(config.FindEntry("common.environment"))
	root.Properties["environment"] = environment
	return root, err
}

// tableSchema describes a table with the keys of e.
func tableSchema(e *config.Entry) (*schemaNode, error) {
	s := &schemaNode{
		Description: e.Doc, Type: "object", Properties: map[string]*schemaNode{}, Others: false,
		Patterns: map[string]*schemaNode{"_docs$": {}},
	}
	for _, below := range e.Entries {
		property, err := entrySchema(below)
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", below.Key, err)
		}
		s.Properties[below.Name()] = property
	}
	return s, nil
}

func entrySchema(e *config.Entry) (*schemaNode, error) {
	switch e.Kind {
	case tomltree.Section:
		return tableSchema(e)
	case tomltree.Named:
		entry, err := tableSchema(e.Entries[0])
		return &schemaNode{Description: e.Doc, Type: "object", Others: entry}, err
	case tomltree.Rows:
		row, err := tableSchema(e.Entries[0])
		if err != nil {
			return nil, err
		}
		for _, below := range e.Entries[0].Entries { // a list is replaced as a whole
			if !below.Optional {
				row.Required = append(row.Required, below.Name())
			}
		}
		return withDefault(e, &schemaNode{Type: "array", Items: row})
	default:
		return withDefault(e, leafSchema(e))
	}
}

// withDefault adds the description and the value of base to s.
func withDefault(e *config.Entry, s *schemaNode) (*schemaNode, error) {
	s.Description = e.Doc
	if e.Unit != "" {
		s.Description += " (" + e.Unit + ")"
	}
	if e.Base == "" {
		return s, nil
	}
	tree, problems := tomltree.Parse(e.Key, []byte("v = "+e.Base))
	if len(problems) > 0 {
		return nil, &config.Report{Problems: problems}
	}
	s.Default = tree.Lookup("v")
	return s, nil
}

// leafSchema describes a scalar, or a list of them. Where not every string will
// do, a placeholder does.
func leafSchema(e *config.Entry) *schemaNode {
	if e.Field.Type.Kind() == reflect.Slice {
		return listSchema(e)
	}
	s := scalarSchema(e, e.Field.Type)
	if e.Len != "" {
		s.MinLength, s.MaxLength = ends(e.Len)
	}
	return orPlaceholder(s)
}

// listSchema describes a list. A list of numbers may be a numbered table.
func listSchema(e *config.Entry) *schemaNode {
	element := e.Field.Type.Elem()
	list := &schemaNode{Type: "array", Items: orPlaceholder(scalarSchema(e, element))}
	list.MinItems, list.MaxItems = ends(e.Len)
	if element.Kind() == reflect.String {
		return list
	}
	numbered := &schemaNode{Type: "object", Others: false, Patterns: map[string]*schemaNode{`^(0|[1-9][0-9]*)$`: list.Items}}
	return &schemaNode{AnyOf: []*schemaNode{list, numbered}}
}

func scalarSchema(e *config.Entry, t reflect.Type) *schemaNode {
	s := &schemaNode{}
	switch t.Kind() {
	case reflect.Bool:
		s.Type = "boolean"
	case reflect.Float64:
		s.Type = "number"
	case reflect.String:
		s.Type, s.Enum, s.Pattern = "string", e.Enum, e.Pattern
	default:
		s.Type = "integer"
	}
	s.Minimum, s.Maximum = ends(e.Range)
	return s
}

func orPlaceholder(s *schemaNode) *schemaNode {
	if s.Type == "string" && s.Enum == nil && s.Pattern == "" && s.MinLength == nil && s.MaxLength == nil {
		return s
	}
	return &schemaNode{AnyOf: []*schemaNode{s, {Type: "string", Pattern: placeholderPattern}}}
}

// ends returns the ends of "1..10" as numbers; an open end is nil.
func ends(bounds string) (low, high *json.Number) {
	from, to, _ := strings.Cut(bounds, "..")
	number := func(text string) *json.Number {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil
		}
		n := json.Number(text)
		return &n
	}
	return number(from), number(to)
}
