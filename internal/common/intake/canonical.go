package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// canonicalJSON writes a JSON value so that values have the same bytes exactly
// if they are equal: no white space, the keys of objects sorted by their bytes
// and the last of several that are the same, strings with the same escapes,
// numbers by their exact value. It follows RFC 8785 but for the last point: that
// would make 9007199254740992 and 9007199254740993 the same, by way of float64.
func canonicalJSON(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return appendCanonical(nil, value), nil
}

func appendCanonical(to []byte, value any) []byte {
	switch v := value.(type) {
	case map[string]any:
		to = append(to, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(to, canonicalText(key)...)
			to = append(to, ':')
			to = appendCanonical(to, v[key])
		}
		return append(to, '}')
	case []any:
		to = append(to, '[')
		for i, item := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendCanonical(to, item)
		}
		return append(to, ']')
	case json.Number:
		return append(to, canonicalNumber(string(v))...)
	case string:
		return append(to, canonicalText(v)...)
	case bool:
		return strconv.AppendBool(to, v)
	default:
		return append(to, "null"...)
	}
}

// canonicalText writes a string as JSON.
func canonicalText(s string) []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("intake: " + err.Error()) // text always encodes
	}
	return raw
}

// canonicalNumber writes a number as digits that neither begin nor end with a
// zero and a power of ten: 1200, 1.2e3 and 12E2 are 12e2. Zero is 0, whatever its
// sign. Nothing is reckoned out, so that a short text stays short.
func canonicalNumber(text string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	significant := strings.TrimRight(digits, "0")
	power := new(big.Int)
	if exponent != "" {
		power.SetString(strings.TrimPrefix(exponent, "+"), 10) // the grammar of JSON leaves nothing else
	}
	power.Add(power, big.NewInt(int64(len(digits)-len(significant)-len(fraction))))
	if negative {
		significant = "-" + significant
	}
	if power.Sign() == 0 {
		return significant
	}
	return significant + "e" + power.String()
}
