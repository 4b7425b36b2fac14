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

	// Secret reports whether a dotted key holds a secret, for which the variable
	// NAME_FILE may name a file in place of NAME. Nil means that none does.
	Secret func(key string) bool

	// ReadFile returns the content of such a file. Secret needs it.
	ReadFile func(name string) ([]byte, error)
}

// Unset is a placeholder without a default whose variable has no value. Where it
// stood, [Schema.Decode] leaves the field as it is.
type Unset struct {
	Variable string
	Key      string // the dotted key that needs it
	Pos      Pos
	Message  string // of ${NAME:?message}
	Secret   bool   // NAME_FILE would do as well
}

// maxNesting bounds placeholders within defaults.
const maxNesting = 8

// Expand fills the placeholders in the strings of a tree:
//
//	${NAME}            the variable, which must be set
//	${NAME:?message}   the variable, which must be set and not empty
//	${NAME:-default}   the default if the variable is unset or empty
//	${NAME-default}    the default if the variable is unset
//	$${                the two characters ${
//
// A default may hold braces in pairs and further placeholders, up to 8 deep. A
// dollar sign that begins none of these stands for itself. What a variable
// holds is never read again for placeholders, and is never part of a problem.
// Other forms and variables that are not allowed are problems, whether or not
// the variable is set.
//
// Values that others replaced in a merge are read as if no variable were set;
// nothing is looked up for them.
func Expand(tree *Value, vars Variables) (*Value, []Unset, []Problem) {
	x := expander{vars: vars}
	out := x.value(tree)
	return out, x.unset, x.problems
}

type expander struct {
	vars     Variables
	path     []string
	hidden   bool // what is read was replaced in a merge
	unset    []Unset
	problems []Problem
}

// value returns v expanded: v itself where there is nothing to fill in.
func (x *expander) value(v *Value) *Value {
	out := v
	if v.kind == String && strings.IndexByte(v.text, '$') >= 0 {
		out = x.text(v)
	}
	for i := range v.entries {
		e := &v.entries[i]
		if e.value.isPlain() {
			continue
		}
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
	if v.under == nil {
		return out
	}
	outer := x.hidden
	x.hidden = true
	under := x.value(v.under)
	x.hidden = outer
	if under != v.under {
		copied := *out
		copied.under = under
		out = &copied
	}
	return out
}

// isPlain reports whether there is nothing in v that could be expanded.
func (v *Value) isPlain() bool {
	return v.under == nil && v.kind < Array && (v.kind != String || strings.IndexByte(v.text, '$') < 0)
}

func (x *expander) text(v *Value) *Value {
	p := placeholders{expander: x, at: v.Pos(), from: &sources{written: v.text}, live: true}
	text, _ := p.until(v.text)
	out := *v
	out.text, out.expanded = text, p.from
	out.unset = p.failed || p.missing
	p.from.whole = strings.HasPrefix(v.text, "${") && p.outer == 1 && p.ending == len(v.text)
	if out.fromVariable() && !p.failed {
		p.from.fallback = x.fallback(v)
	}
	return &out
}

// fallback returns what string v is without any variable, nil if it needs one.
// Its problems are those of v, and known already.
func (x *expander) fallback(v *Value) *string {
	bare := expander{vars: x.vars, hidden: true}
	p := placeholders{expander: &bare, at: v.Pos(), from: &sources{}, live: true}
	text, _ := p.until(v.text)
	if p.failed || p.missing {
		return nil
	}
	return &text
}

// placeholders expands one string.
type placeholders struct {
	*expander
	at      Pos
	from    *sources
	live    bool // the text is used, not only checked
	depth   int  // of defaults within defaults
	outer   int  // how many placeholders stand side by side so far
	ending  int  // where the last of these ended
	failed  bool // the string is not well formed
	missing bool // a variable in it has no value
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

// forms is how a placeholder can be written, for those who wrote it otherwise.
const forms = "write ${NAME}, ${NAME:-default}, ${NAME-default} or ${NAME:?message}"

// placeholder expands the placeholder that text begins with, and returns the
// text after it; none, if the placeholder is not well formed.
func (p *placeholders) placeholder(text string) (value, rest string) {
	text = text[len("${"):]
	name := text[:nameLength(text)]
	text = text[len(name):]
	switch {
	case text == "":
		return p.fail("is not closed", "add the closing brace, or write $${ for the characters ${")
	case name == "" && strings.ContainsRune("}:-?", rune(text[0])):
		return p.fail("names no variable", forms)
	case text[0] == '}':
		return p.demand(name, "", ""), text[1:]
	case strings.HasPrefix(text, ":?"):
		return p.withMessage(name, text[len(":?"):])
	case strings.HasPrefix(text, ":-"):
		return p.withDefault(name, text[len(":-"):], DefaultEmpty)
	case text[0] == '-':
		return p.withDefault(name, text[len("-"):], DefaultUnset)
	default:
		return p.fail("has a form that is not supported", forms)
	}
}

// withMessage expands ${name:?message}; text begins with the message, in which
// nothing is filled in.
func (p *placeholders) withMessage(name, text string) (value, rest string) {
	message, rest, closed := strings.Cut(text, "}")
	if !closed {
		return p.fail("is not closed", "add the closing brace; a message cannot hold one")
	}
	return p.demand(name, ":?", message), rest
}

// demand returns the value of a variable that must be set, and after the
// operator :? not empty.
func (p *placeholders) demand(name, operator, message string) string {
	if !p.allow(name) || !p.live {
		return ""
	}
	value, how, set := p.lookup(name)
	if value == "" {
		how = Empty
	}
	if !set || value == "" && operator == ":?" {
		how, p.missing = Missing, true
		if !p.hidden {
			p.unset = append(p.unset, Unset{
				Variable: name, Key: dotted(p.path), Pos: p.at, Message: message, Secret: p.isSecret(),
			})
		}
	}
	p.use(name, how)
	return value
}

// withDefault expands ${name:-default}, or ${name-default} where only an unset
// variable counts; text begins with the default.
func (p *placeholders) withDefault(name, text string, counts How) (value, rest string) {
	live := p.live
	defer func() { p.live = live }()
	supplied := ""
	if p.allow(name) && live {
		var how How
		var set bool
		supplied, how, set = p.lookup(name)
		switch {
		case !set:
			how = DefaultUnset
		case supplied == "" && counts == DefaultEmpty:
			how = DefaultEmpty
		case supplied == "":
			how = Empty
		}
		p.use(name, how)
		p.live = how > Empty
	}
	taken := p.live
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
	if live && !taken {
		value = supplied
	}
	return value, strings.TrimPrefix(rest, "}")
}

// lookup returns what a variable holds, or the file that it names in NAME_FILE.
// Nothing is set for values that are hidden.
func (p *placeholders) lookup(name string) (value string, how How, set bool) {
	if p.hidden {
		return "", Set, false
	}
	value, set = p.vars.Lookup(name)
	if !p.isSecret() {
		return value, Set, set
	}
	file, _ := p.vars.Lookup(name + "_FILE")
	switch {
	case file == "":
		return value, Set, set
	case value != "":
		p.report("two-sources", "has two values: "+name+" and "+name+"_FILE are both set", "unset one of them")
		return "", Set, true
	}
	content, err := p.vars.ReadFile(file)
	if err != nil {
		p.report("unreadable-secret", "cannot be read: "+name+"_FILE names a file that this process cannot read",
			"let "+name+"_FILE name a file that the process may read")
		return "", FromFile, true
	}
	text := strings.TrimSuffix(string(content), "\n")
	return strings.TrimSuffix(text, "\r"), FromFile, true
}

func (p *placeholders) isSecret() bool {
	return p.vars.Secret != nil && p.vars.Secret(dotted(p.path))
}

func (p *placeholders) use(name string, how How) {
	p.from.uses = append(p.from.uses, Use{name, how})
}

// allow reports whether files may name a variable.
func (p *placeholders) allow(name string) bool {
	if slices.Contains(p.vars.Allowed, name) {
		return true
	}
	fix := "files may use " + strings.Join(p.vars.Allowed, ", ")
	if near := Nearest(name, p.vars.Allowed); near != "" {
		fix = "did you mean " + near + "? " + fix
	}
	p.report("forbidden-variable", "uses the variable "+name+", which is not allowed", fix)
	return false
}

// fail reports a placeholder that is not well formed; the rest of the string
// means nothing then.
func (p *placeholders) fail(message, fix string) (value, rest string) {
	p.report("bad-placeholder", "holds a placeholder that "+message, fix)
	return "", ""
}

func (p *placeholders) report(code, message, fix string) {
	p.failed = true
	p.problems = append(p.problems, Problem{Code: code, Key: dotted(p.path), Pos: p.at, Message: message, Fix: fix})
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
