package tomltree

import (
	"bytes"
	"encoding/json"
	"math"
)

// placeJSON is a place as JSON has it.
type placeJSON struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Pos) json() placeJSON { return placeJSON{p.File(), p.Line(), p.Column()} }

type linkJSON struct {
	Written string `json:"written"`
	placeJSON

	Variables []useJSON `json:"variables,omitempty"`
}

type useJSON struct {
	Name string `json:"name"`
	How  string `json:"how"`
}

// MarshalJSON writes what was written, where, and the variables in it; a link
// without a file is the default of the schema.
func (l Link) MarshalJSON() ([]byte, error) {
	out := linkJSON{Written: l.Text, placeJSON: l.Pos.json()}
	for _, use := range l.Uses {
		out.Variables = append(out.Variables, useJSON{use.Variable, use.How.String()})
	}
	return json.Marshal(out)
}

type alsoJSON struct {
	placeJSON

	Note string `json:"note"`
}

// MarshalJSON writes everything that [Problem.String] prints save the excerpt.
func (p Problem) MarshalJSON() ([]byte, error) {
	out := struct {
		Severity string `json:"severity"`
		Code     string `json:"code"`
		Key      string `json:"key,omitempty"`
		placeJSON

		Message string     `json:"message"`
		Chain   []Link     `json:"chain,omitempty"`
		Also    []alsoJSON `json:"also,omitempty"`
		Effect  string     `json:"effect,omitempty"`
		Fix     string     `json:"fix,omitempty"`
		Instead string     `json:"instead,omitempty"`
		Hidden  bool       `json:"hidden,omitempty"`
	}{
		Severity: p.Severity.String(), Code: p.Code, Key: p.Key, placeJSON: p.Pos.json(), Message: p.Message,
		Chain: p.Chain, Effect: p.Effect, Fix: p.Fix, Instead: p.Instead, Hidden: p.Hidden,
	}
	for _, place := range p.Also {
		out.Also = append(out.Also, alsoJSON{place.Pos.json(), place.Note})
	}
	return json.Marshal(out)
}

// MarshalJSON writes v as JSON, the keys of tables in their order. Dates, and
// numbers that JSON does not have, become strings.
func (v *Value) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := v.writeJSON(&b)
	return b.Bytes(), err
}

func (v *Value) writeJSON(b *bytes.Buffer) error {
	switch v.kind {
	case Table, Array:
		brackets := [...]byte{'{', '}'}
		if v.kind == Array {
			brackets = [...]byte{'[', ']'}
		}
		b.WriteByte(brackets[0])
		for i, e := range v.entries {
			if i > 0 {
				b.WriteByte(',')
			}
			if v.kind == Table {
				if err := writeAny(b, e.key); err != nil {
					return err
				}
				b.WriteByte(':')
			}
			if err := e.value.writeJSON(b); err != nil {
				return err
			}
		}
		b.WriteByte(brackets[1])
		return nil
	default:
		return writeAny(b, v.scalar())
	}
}

// scalar returns v as a string, int64, float64 or bool.
func (v *Value) scalar() any {
	switch x := v.float(); {
	case v.kind == Bool:
		return v.bits == 1
	case v.kind == Integer:
		return int64(v.bits) //nolint:gosec // bits hold an int64
	case v.kind == Float && !math.IsNaN(x) && !math.IsInf(x, 0):
		return x
	default:
		return v.text
	}
}

func writeAny(b *bytes.Buffer, x any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line end
	return nil
}
