package config

import (
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// Setting is the value of one key in a configuration, and how it came about.
type Setting struct {
	Key     string // dotted
	Entry   *Entry
	Value   *tomltree.Value // with its secrets
	Chain   []tomltree.Link // the layers, the one in effect first; shows no secret
	Missing bool            // the value needs a variable that is not set
}

// Settings lists every setting of a configuration in the order of the
// documents.
func (l *Loaded) Settings() []Setting {
	var list []Setting
	tomltree.Leaves(l.Effective(), func(key string, v *tomltree.Value) {
		list = append(list, Setting{
			Key: key, Entry: FindEntry(key), Value: v, Chain: schema().Chain(key, v), Missing: v.IsMissing(),
		})
	})
	return list
}

// Effective returns the configuration as a tree: defaults filled in, variables
// in place, with its secrets.
func (l *Loaded) Effective() *tomltree.Value { return schema().Complete(l.tree) }

// Redact returns a tree without its secrets and without the users and passwords
// of URLs, and the keys of what it took out.
func Redact(tree *tomltree.Value) (redacted *tomltree.Value, keys []string) {
	return schema().Redact(tree)
}

// Shown returns the value as TOML, *** for a secret that is set. Where a
// variable is missing it is what the file says.
func (s Setting) Shown() string {
	switch {
	case s.Missing:
		return s.Chain[0].Text
	case s.Entry.Secret && s.Value.Text() != "":
		return "***"
	default:
		v, _ := Redact(s.Value)
		return v.Inline()
	}
}

// Origin says where the value comes from: its layers, the one in effect first. It
// shows no secret.
func (s Setting) Origin() string {
	parts := make([]string, len(s.Chain))
	for i, link := range s.Chain {
		parts[i] = link.String()
	}
	return strings.Join(parts, " ← ")
}

// IsOverride reports whether a file sets a key that another file sets too.
func (s Setting) IsOverride() bool { return len(s.Chain) > 1 && s.Chain[1].Pos.IsValid() }

// Redundant reports, as warnings, the values that say what the layer below says
// already.
func (l *Loaded) Redundant() []Problem {
	report := &Report{}
	for _, s := range l.Settings() {
		below := s.Value.Under()
		if below == nil || !s.Value.SameAs(below) {
			continue
		}
		report.Add(Problem{
			Severity: tomltree.Warning, Code: "redundant-override", Key: s.Key, Pos: s.Value.Pos(),
			Message: "is what the layer below says already", Chain: s.Chain,
		})
	}
	finish(report)
	return report.Problems
}
