package postgres

import (
	"strconv"
	"strings"
)

// unnest flattens arrays of arrays, so an array per row travels as its text.

// intsLiteral is the array literal of v; nil, which is null, when v is empty.
func intsLiteral(v []int32) *string {
	if len(v) == 0 {
		return nil
	}
	b := []byte{'{'}
	for i, n := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	s := string(append(b, '}'))
	return &s
}

// arrayLiteral is the array literal of v; nil, which is null, when v is empty.
func arrayLiteral(v []string) *string {
	if len(v) == 0 {
		return nil
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	quoted := make([]string, len(v))
	for i, s := range v {
		quoted[i] = `"` + quote.Replace(s) + `"`
	}
	s := "{" + strings.Join(quoted, ",") + "}"
	return &s
}
