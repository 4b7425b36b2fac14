package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tasker-systems/tasker-go/config"
)

// A Limit bounds the steps of a key: how many run at once, how often one starts,
// or both. Steps of all templates that name a key share it.
type Limit struct {
	// Key names what is limited. A JSON pointer (RFC 6901) in double braces, as in
	// customer:{{/customer/id}}, stands for that value of the task's context.
	Key string `json:"key" required:"true" len:"1..200"`

	// Concurrency is how many steps run at once; zero: any number.
	Concurrency int `json:"concurrency,omitempty" range:"1..100000"`

	// Rate is how many steps start per Per; zero: any number.
	Rate int `json:"rate,omitempty" range:"1..1000000"`

	// Per is the period of Rate; zero is one second.
	Per config.Seconds `json:"per_seconds,omitempty" range:"1..86400"`

	// Burst is how many steps may start at once after a pause; zero is Rate.
	Burst int `json:"burst,omitempty" range:"1..1000000"`
}

// MaxKey is how long the key of a limit may be, in characters.
const MaxKey = 200

// Period returns Per with its default.
func (l *Limit) Period() config.Seconds {
	if l.Per == 0 {
		return 1
	}
	return l.Per
}

// Bucket returns Burst with its default.
func (l *Limit) Bucket() int {
	if l.Burst == 0 {
		return l.Rate
	}
	return l.Burst
}

// same reports whether two limits of a key allow the same.
func (l *Limit) same(other *Limit) bool {
	return l.Concurrency == other.Concurrency && l.Rate == other.Rate &&
		(l.Rate == 0 || l.Period() == other.Period() && l.Bucket() == other.Bucket())
}

// Constant reports whether the key is the same for every task.
func (l *Limit) Constant() bool { return !strings.Contains(l.Key, "{{") }

// KeyFor returns the key for a task with the given context, which must be as
// [ParseContext] returns it. The error says which value is missing or of no use.
func (l *Limit) KeyFor(context any) (string, error) {
	var b strings.Builder
	for rest := l.Key; ; {
		text, after, found := strings.Cut(rest, "{{")
		b.WriteString(text)
		if !found {
			break
		}
		var at string
		at, rest, _ = strings.Cut(after, "}}")
		value, err := valueAt(context, at)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
	}
	if n := utf8.RuneCountInString(b.String()); n > MaxKey {
		return "", fmt.Errorf("the key %s has %d characters with the values of the context, at most %d are allowed", l.Key, n, MaxKey)
	}
	return b.String(), nil
}

// ParseContext reads the context of a task for [Limit.KeyFor].
func ParseContext(data json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read the context: %w", err)
	}
	return v, nil
}

// A KeyError says that the context lacks what the key of a limit is made of.
type KeyError struct {
	Pointer string // to the value in the context (RFC 6901)
	Message string // what is wrong
}

// Error says what is wrong, and where.
func (e *KeyError) Error() string { return e.Pointer + " " + e.Message }

// valueAt returns the text of the value that a JSON pointer means.
func valueAt(v any, at string) (string, error) {
	for token := range strings.SplitSeq(strings.TrimPrefix(at, "/"), "/") {
		token = unescaped(token)
		found := false
		switch container := v.(type) {
		case map[string]any:
			v, found = container[token]
		case []any:
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(container) && strconv.Itoa(i) == token {
				v, found = container[i], true
			}
		}
		if !found {
			return "", &KeyError{at, "is missing"}
		}
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "", &KeyError{at, "is null, must be text, a number, or true or false"}
	case []any:
		return "", &KeyError{at, "is a list, must be text, a number, or true or false"}
	default:
		return "", &KeyError{at, "is an object, must be text, a number, or true or false"}
	}
}

// unescaped reads a token of a JSON pointer (RFC 6901, section 3).
func unescaped(token string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
}

// checkLimits reports limits that limit nothing, keys that do not read, and keys
// with several meanings.
func checkLimits(t *Template, r *report) {
	first := map[string]namedLimit{}
	checkLimitList("limits", t.Limits, first, r)
	for i := range t.Steps {
		s, path := &t.Steps[i], fmt.Sprintf("steps[%d].limits", i)
		if r.full() {
			return
		}
		for j := range s.Limits {
			for k := range t.Limits {
				if t.Limits[k].Key == s.Limits[j].Key && s.Limits[j].Key != "" {
					r.addf(fmt.Sprintf("%s[%d].key", path, j), "%q limits every step of the template already: limits[%d]", s.Limits[j].Key, k)
				}
			}
		}
		checkLimitList(path, s.Limits, first, r)
	}
}

// A namedLimit is a limit with its place in the template.
type namedLimit struct {
	*Limit

	path string
}

// checkLimitList checks one list; first are the limits so far by key.
func checkLimitList(path string, limits []Limit, first map[string]namedLimit, r *report) {
	seen := map[string]bool{}
	for i := range limits {
		l, at := &limits[i], fmt.Sprintf("%s[%d]", path, i)
		if l.Key == "" {
			continue // reported already
		}
		if problem := l.keyProblem(); problem != "" {
			r.addf(at+".key", "%s", problem)
		}
		switch {
		case l.Concurrency == 0 && l.Rate == 0:
			r.addf(at, "limits nothing; give it a concurrency, a rate, or both")
		case l.Rate == 0 && l.Per != 0:
			r.addf(at+".per_seconds", "belongs to a rate, which is missing")
		case l.Rate == 0 && l.Burst != 0:
			r.addf(at+".burst", "belongs to a rate, which is missing")
		}
		if seen[l.Key] {
			r.addf(at+".key", "%q stands in this list twice", l.Key)
		}
		seen[l.Key] = true
		if before, ok := first[l.Key]; !ok {
			first[l.Key] = namedLimit{l, at}
		} else if !l.same(before.Limit) {
			r.addf(at, "allows something else than %s with the same key; all limits of a key are one", before.path)
		}
	}
}

// keyProblem says what is wrong with the placeholders of a key.
func (l *Limit) keyProblem() string {
	for rest := l.Key; ; {
		text, after, found := strings.Cut(rest, "{{")
		if strings.Contains(text, "}}") {
			return "has }} without {{ before it"
		}
		if !found {
			return ""
		}
		at, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return "has {{ without }} after it"
		}
		if problem := pointerProblem(at); problem != "" {
			return problem
		}
		rest = behind
	}
}

func pointerProblem(at string) string {
	if !strings.HasPrefix(at, "/") || at == "/" {
		return fmt.Sprintf("has {{%.80s}}; between the braces stands a JSON pointer into the context, such as /customer_id", at)
	}
	for i := range len(at) {
		if at[i] == '~' && (i+1 == len(at) || at[i+1] != '0' && at[i+1] != '1') {
			return fmt.Sprintf("has {{%.80s}}; in a JSON pointer ~ is written ~0", at)
		}
	}
	return ""
}
