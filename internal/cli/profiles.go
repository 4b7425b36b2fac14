package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/apiclient"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// The variables that say which server a command talks to, and as whom.
const (
	serverVar  = "TASKER_ORCHESTRATION_URL"
	profileVar = "TASKER_PROFILE"
	tokenVar   = "TASKER_CLIENT_TOKEN"
	apiKeyVar  = "TASKER_CLIENT_API_KEY"
)

// defaultServer is where tasker-cli dev listens.
const defaultServer = "http://127.0.0.1:8080"

// A profileFile is what the file of profiles holds.
type profileFile struct {
	Active   string             `toml:"active" default:"''"`
	Profiles map[string]profile `toml:"profiles" default:"{}"`
}

// A profile says which server to talk to, and where to find what it is told of
// the caller. It holds no secret itself.
type profile struct {
	Server       string `toml:"server" json:"server"`
	TokenEnv     string `toml:"token_env" json:"token_env,omitempty" default:"''" secret:"false"`
	TokenFile    string `toml:"token_file" json:"token_file,omitempty" default:"''" secret:"false"`
	APIKeyEnv    string `toml:"api_key_env" json:"api_key_env,omitempty" default:"''" secret:"false"`
	APIKeyFile   string `toml:"api_key_file" json:"api_key_file,omitempty" default:"''" secret:"false"`
	APIKeyHeader string `toml:"api_key_header" json:"api_key_header,omitempty" default:"''" secret:"false"`
	CAFile       string `toml:"ca_file" json:"ca_file,omitempty" default:"''"`
	Output       string `toml:"output" json:"output,omitempty" default:"''"`
}

// profilePath is where the profiles lie: tasker/client.toml in the folder that
// the XDG Base Directory Specification names; "" where there is none.
func profilePath(env Env) string {
	dir := env.variable("XDG_CONFIG_HOME")
	if home := env.variable("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "tasker", "client.toml")
}

// readProfiles reads the profiles; there may be none yet.
func readProfiles(env Env) (*profileFile, error) {
	path := profilePath(env)
	if path == "" {
		return &profileFile{}, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &profileFile{}, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	file := &profileFile{}
	tree, problems := tomltree.Parse(path, data)
	if len(problems) == 0 {
		_, problems = tomltree.NewSchema(reflect.TypeFor[profileFile](), nil).Decode(tree, file)
	}
	if len(problems) > 0 {
		var all []string
		for _, p := range problems {
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Pos, p.Key, p.Message)))
		}
		return nil, &ExitError{Code: ExitConfig, Err: withHint(errors.New(strings.Join(all, "\n")), "correct the file, or remove it")}
	}
	return file, nil
}

// profileNames are the names of all profiles, for completion.
func profileNames(env Env) []string {
	file, err := readProfiles(env)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(file.Profiles))
}

// write replaces the file of profiles. Nobody but its owner may read it.
func (f *profileFile) write(env Env) error {
	path := profilePath(env)
	if path == "" {
		return withHint(errors.New("there is no folder for profiles: neither XDG_CONFIG_HOME nor HOME is set"), "--server names a server without a profile")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return &ExitError{Code: ExitIO, Err: fmt.Errorf("write %s: %w", path, err)}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Servers that tasker-cli talks to. Secrets are named here, not kept: tasker-cli profile --help\nactive = %s\n", quote(f.Active))
	for _, name := range slices.Sorted(maps.Keys(f.Profiles)) {
		fmt.Fprintf(&b, "\n[profiles.%s]\n", tomltree.DottedKey(name))
		for _, s := range f.Profiles[name].settings() {
			if s.value != "" {
				fmt.Fprintf(&b, "%s = %s\n", s.name, quote(s.value))
			}
		}
	}
	if err := writeFile(path, b.Bytes(), 0o600); err != nil {
		return &ExitError{Code: ExitIO, Err: err}
	}
	return nil
}

// quote writes a TOML string: JSON's are a part of them.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(quoted)
}

// settings are the keys of a profile with their values.
func (p profile) settings() []fact {
	return []fact{
		{"server", p.Server},
		{"token_env", p.TokenEnv},
		{"token_file", p.TokenFile},
		{"api_key_env", p.APIKeyEnv},
		{"api_key_file", p.APIKeyFile},
		{"api_key_header", p.APIKeyHeader},
		{"ca_file", p.CAFile},
		{"output", p.Output},
	}
}

// A connection is what a command needs to know of the server.
type connection struct {
	server  string
	output  string
	options apiclient.Options
}

// connection says which server to talk to. --server goes first; then a profile
// that was asked for, by --profile or its variable; then the variable with a URL;
// then the profile in use. The credentials of a profile go to its server only.
// Those of the environment go to any.
func (r *remote) connection() (connection, error) {
	to := connection{server: r.server, output: "table"}
	name := r.profile
	if name == "" && to.server == "" {
		name = r.env.variable(profileVar)
	}
	if name == "" && to.server == "" {
		to.server = r.env.variable(serverVar)
	}
	if to.server == "" {
		chosen, err := r.choose(name)
		if err != nil {
			return to, err
		}
		if to, err = chosen.connection(r.env); err != nil {
			return to, err
		}
	}
	if token, err := secret(r.env, tokenVar, ""); err != nil || token != "" {
		to.options.Token, to.options.APIKey = token, ""
		return to, err
	}
	if key, err := secret(r.env, apiKeyVar, ""); err != nil || key != "" {
		to.options.Token, to.options.APIKey = "", key
		return to, err
	}
	return to, nil
}

// choose returns the profile of the name or, without one, the one in use; without
// any that of a server on this machine.
func (r *remote) choose(name string) (profile, error) {
	file, err := readProfiles(r.env)
	if err != nil {
		return profile{}, err
	}
	if name == "" {
		name = file.Active
	}
	if name == "" {
		return profile{Server: defaultServer}, nil
	}
	return file.find(name)
}

// find returns the profile of a name.
func (f *profileFile) find(name string) (profile, error) {
	p, known := f.Profiles[name]
	if !known {
		return profile{}, withHint(usage(fmt.Errorf("there is no profile %q", name)), "tasker-cli profile list shows those there are, profile add makes one")
	}
	return p, nil
}

// connection reads what the profile names.
func (p profile) connection(env Env) (connection, error) {
	to := connection{server: p.Server, output: p.Output, options: apiclient.Options{APIKeyHeader: p.APIKeyHeader}}
	if to.output == "" {
		to.output = "table"
	}
	var err error
	if to.options.Token, err = secret(env, p.TokenEnv, p.TokenFile); err != nil {
		return to, err
	}
	if to.options.APIKey, err = secret(env, p.APIKeyEnv, p.APIKeyFile); err != nil {
		return to, err
	}
	if p.CAFile != "" {
		if to.options.CA, err = os.ReadFile(p.CAFile); err != nil {
			return to, readError(err)
		}
	}
	return to, nil
}

// secret reads a variable or, where that is empty, a file: the one that is given
// or the one that the variable with _FILE behind its name gives. Line ends at its
// end do not count.
func secret(env Env, variable, file string) (string, error) {
	if variable != "" {
		if value := env.variable(variable); value != "" {
			return value, nil
		}
		if file == "" {
			file = env.variable(variable + "_FILE")
		}
	}
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", readError(err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
