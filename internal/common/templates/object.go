package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// An Object is a JSON object of any shape: a schema, metadata, what a handler
// is given. Values are nil, bool, string, json.Number, []any and
// map[string]any. Numbers are plain decimals without exponent, so that they
// come back from jsonb as they went in.
type Object map[string]any

// UnmarshalJSON reads a JSON object and keeps its numbers exact.
func (o *Object) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	*o = m
	return nil
}

// plainNumber writes a number that YAML decoded as [Object] wants it; false
// when JSON has no such number.
func plainNumber(value any) (json.Number, bool) {
	f, isFloat := value.(float64)
	switch {
	case !isFloat:
		return json.Number(fmt.Sprint(value)), true
	case math.IsInf(f, 0) || math.IsNaN(f):
		return "", false
	case f == 0:
		return "0", true // jsonb has no negative zero
	}
	return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), true
}
