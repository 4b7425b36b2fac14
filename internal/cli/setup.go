package cli

import (
	"fmt"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
)

// A setup is the layered configuration with what a command lays over it. A
// value that a flag brings along goes through a variable, as one that the
// environment brings along would: so it is checked alike, and a password in it
// is in no file that a problem could quote.
type setup struct {
	env       Env
	overlay   []string // lines of TOML
	variables map[string]string
}

// lay sets a key to a value of TOML.
func (s *setup) lay(key, toml string) { s.overlay = append(s.overlay, key+" = "+toml) }

// fill sets a key to what the variable holds, and the variable to value. An
// empty value leaves the configuration as it is.
func (s *setup) fill(key, variable, value string) {
	if value == "" {
		return
	}
	if s.variables == nil {
		s.variables = map[string]string{}
	}
	s.variables[variable] = value
	s.lay(key, fmt.Sprintf("%q", "${"+variable+"}"))
}

// database sets the URL of the database.
func (s *setup) database(url string) { s.fill("common.database.url", "DATABASE_URL", url) }

// load loads the configuration of a context.
func (s *setup) load(c config.Context) (*config.Config, error) { return config.Load(c, s.options()) }

func (s *setup) options() config.Options {
	opts := config.Options{LookupEnv: s.lookup}
	if len(s.overlay) > 0 {
		opts.Overlay = []byte(strings.Join(s.overlay, "\n"))
	}
	return opts
}

func (s *setup) lookup(name string) (string, bool) {
	if value, ok := s.variables[name]; ok {
		return value, true
	}
	return s.env.LookupEnv(name)
}
