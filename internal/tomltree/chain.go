package tomltree

import "strings"

// A Link is one layer of a value: what was written there, and where.
type Link struct {
	Text string // as written, *** where it must not be shown
	Pos  Pos    // no place for the default of the schema
	Uses []Use  // the variables in it, where they were looked up
}

// String returns l as in a sentence: "5 at base/common.toml:16:19".
func (l Link) String() string {
	text := l.Text + " by default"
	if l.Pos.IsValid() {
		text = l.Text + " at " + l.Pos.String()
	}
	for i, use := range l.Uses {
		text += [...]string{" (", ", "}[min(i, 1)] + use.Variable + " " + use.How.String()
	}
	if len(l.Uses) > 0 {
		text += ")"
	}
	return text
}

// Chain returns the layers of the value of a dotted key: the one in effect, what
// it replaced, and at last the default of the schema, if there is one.
func (s *Schema) Chain(key string, v *Value) []Link {
	var preset string
	var secret bool
	if f := s.Field(key); f != nil {
		preset, secret = f.Default, f.Secret
	}
	chain := []Link{}
	for layer := v; layer != nil && layer.file != nil; layer = layer.under {
		link := Link{Text: layer.source(), Pos: layer.Pos()}
		if secret {
			link.Text = hiddenText
		}
		if layer == v {
			link.Uses = v.Uses()
		}
		chain = append(chain, link)
	}
	if preset != "" {
		link := Link{Text: preset}
		if v != nil && v.file == nil {
			link.Uses = v.Uses()
		}
		chain = append(chain, link)
	}
	return chain
}

// Field returns the leaf with a dotted key, in which a map's own keys stand, or
// nil. An index of a list is left out of account.
func (s *Schema) Field(key string) *Field {
	for i := range s.fields {
		f := &s.fields[i]
		if rest, ok := matchKey(f.Key, key); ok && (rest == "" || rest[0] == '.') {
			return f
		}
	}
	return nil
}

// matchKey matches a key of the schema, in which * stands for any one part, with
// the beginning of key, and returns the rest.
func matchKey(pattern, key string) (rest string, ok bool) {
	for {
		before, after, star := strings.Cut(pattern, "*")
		if key, ok = strings.CutPrefix(key, before); !ok || !star {
			return key, ok
		}
		end := strings.IndexByte(key, '.')
		if end < 0 {
			return "", false
		}
		pattern, key = after, key[end:]
	}
}

// source returns what was written for v on one line, without the password of a
// URL.
func (v *Value) source() string {
	if v.kind == Table {
		return v.kind.String()
	}
	text, rest, _ := strings.Cut(v.file.src[v.start:v.end], "\n")
	if rest != "" {
		text = strings.TrimRight(text, " \t\r") + " …"
	}
	return maskUserinfo(text)
}
