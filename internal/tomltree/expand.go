package tomltree

import (
	"slices"
	"strconv"
	"strings"
)

// Variables says where [Expand] takes values from.
type Variables struct {
	// Lookup returns the value of a variable and whether it is set.
	Lookup func(name string) (string, bool)

	// Allowed are the variables that a file may name, sorted or not.
	Allowed []string
}

// Unset is a placeholder without a default whose variable is not set. Where it
// stood, [Schema.Decode] leaves the field as it is.
type Unset struct {
	Variable string
	Key      string // the dotted key that needs it
	Pos      Pos
}

// maxNesting bounds placeholders within defaults.
const maxNesting = 8

// Expand fills the placeholders in the strings of a tree:
//
//	${NAME}            the variable, which must be set
//	${NAME:-default}   the default if the variable is unset or empty
//	$${                the two characters ${
//
// A default may hold braces in pairs and further placeholders, up to 8 deep. A
// dollar sign that begins none of these stands for itself. What a variable
// holds is never read again for placeholders, and is never part of a problem.
// Other forms and variables that are not allowed are problems, whether or not
// the variable is set.
func Expand(tree *Value, vars Variables) (*Value, []Unset, []Problem) {
	x := expander{vars: vars}
	out := x.value(tree)
	return out, x.unset, x.problems
}

type expander struct {
	vars     Variables
	path     []string
	unset    []Unset
	problems []Problem
}

// value returns v expanded: v itself where there is nothing to fill in.
func (x *expander) value(v *Value) *Value {
	if v.kind == String && strings.IndexByte(v.text, '$') >= 0 {
		return x.text(v)
	}
	out := v
	for i := range v.entries {
		e := v.entries[i]
		key := e.key
		if v.kind == Array {
			key = strconv.Itoa(i)
		}
		x.path = append(x.path, key)
		filled := x.value(e.value)
		x.path = x.path[:len(x.path)-1]
		if filled == e.value {
			continue
		}
		if out == v {
			out = v.withEntries(slices.Clone(v.entries))
		}
		out.entries[i].value = filled
	}
	return out
}

func (x *expander) text(v *Value) *Value {
	p := placeholders{expander: x, at: v.Pos(), from: &sources{}, live: true}
	known := len(x.unset)
	text, _ := p.until(v.text)
	out := *v
	out.text, out.expanded = text, p.from
	out.unset = p.failed || len(x.unset) > known
	p.from.whole = strings.HasPrefix(v.text, "${") && p.outer == 1 && p.ending == len(v.text)
	return &out
}

// placeholders expands one string.
type placeholders struct {
	*expander
	at     Pos
	from   *sources
	live   bool // the text is used, not only checked
	depth  int  // of defaults within defaults
	outer  int  // how many placeholders stand side by side so far
	ending int  // where the last of these ended
	failed bool // the string has no value
}

// until expands text up to its end or, in a default, up to the brace that
// closes it, and returns what is left from there.
func (p *placeholders) until(text string) (expanded, rest string) {
	var b strings.Builder
	total, open := len(text), 0
	for text != "" {
		switch {
		case strings.HasPrefix(text, "$${"):
			b.WriteString("${")
			text = text[len("$${"):]
			open++
			continue
		case strings.HasPrefix(text, "${"):
			var value string
			value, text = p.placeholder(text)
			b.WriteString(value)
			if p.depth == 0 {
				p.outer, p.ending = p.outer+1, total-len(text)
			}
			continue
		case text[0] == '{':
			open++
		case text[0] == '}' && open > 0:
			open--
		case text[0] == '}' && p.depth > 0:
			return b.String(), text
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String(), ""
}

// placeholder expands the placeholder that text begins with, and returns the
// text after it; none, if the placeholder is not well formed.
func (p *placeholders) placeholder(text string) (value, rest string) {
	text = text[len("${"):]
	name := text[:nameLength(text)]
	text = text[len(name):]
	switch {
	case text == "":
		return p.fail("is not closed", "add the closing brace, or write $${ for the characters ${")
	case name == "" && (text[0] == '}' || strings.HasPrefix(text, ":-")):
		return p.fail("names no variable", "write ${NAME} or ${NAME:-default}")
	case text[0] == '}':
		if p.allow(name) && p.live {
			value = p.lookup(name)
		}
		return value, text[1:]
	case strings.HasPrefix(text, ":-"):
		return p.withDefault(name, text[len(":-"):])
	default:
		return p.fail("has a form that is not supported", "write ${NAME} or ${NAME:-default}")
	}
}

// withDefault expands ${name:-default}; text begins with the default.
func (p *placeholders) withDefault(name, text string) (value, rest string) {
	live := p.live
	defer func() { p.live = live }()
	supplied := ""
	if p.allow(name) && live {
		if value, set := p.vars.Lookup(name); set {
			supplied = value
		}
	}
	p.live = live && supplied == ""
	if p.depth++; p.depth > maxNesting {
		return p.fail("is nested more than "+strconv.Itoa(maxNesting)+" deep", "use fewer placeholders within defaults")
	}
	value, rest = p.until(text)
	p.depth--
	if rest == "" {
		if !p.failed {
			p.fail("is not closed", "add the closing brace; braces in a default come in pairs")
		}
		return "", ""
	}
	if supplied != "" {
		p.from.variables = append(p.from.variables, name)
		value = supplied
	}
	return value, strings.TrimPrefix(rest, "}")
}

func (p *placeholders) lookup(name string) string {
	value, set := p.vars.Lookup(name)
	if !set {
		p.unset = append(p.unset, Unset{Variable: name, Key: dotted(p.path), Pos: p.at})
		return ""
	}
	p.from.variables = append(p.from.variables, name)
	return value
}

// allow reports whether files may name a variable.
func (p *placeholders) allow(name string) bool {
	if slices.Contains(p.vars.Allowed, name) {
		return true
	}
	hint := "files may use " + strings.Join(p.vars.Allowed, ", ")
	if near := nearest(name, p.vars.Allowed); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	p.report("forbidden-variable", "uses the variable "+name+", which is not allowed", hint)
	return false
}

// fail reports a placeholder that is not well formed; the rest of the string
// means nothing then.
func (p *placeholders) fail(message, hint string) (value, rest string) {
	p.report("bad-placeholder", "holds a placeholder that "+message, hint)
	return "", ""
}

func (p *placeholders) report(code, message, hint string) {
	p.failed = true
	p.problems = append(p.problems, Problem{Code: code, Key: dotted(p.path), Pos: p.at, Message: message, Hint: hint})
}

// nameLength returns how many bytes of text are a variable's name.
func nameLength(text string) int {
	for i := range len(text) {
		c := text[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(text)
}
