package privatepg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MinVersion is the oldest major version of PostgreSQL that Tasker works with.
const MinVersion = 15

// Binaries are the programs of one installed PostgreSQL.
type Binaries struct {
	Dir     string // absolute path of the folder with initdb and postgres
	Version int    // major version, at least MinVersion
}

// A NotFoundError says that no usable PostgreSQL is installed. Its text tells
// how to install one on this system.
type NotFoundError struct {
	TooOld  []string // what was found but is older than MinVersion, as "13 in /usr/…"
	Install string   // the command that installs PostgreSQL, "" when the system is unknown
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no PostgreSQL %d or newer found", MinVersion)
	if len(e.TooOld) > 0 {
		fmt.Fprintf(&b, " (only %s)", strings.Join(e.TooOld, ", "))
	}
	if e.Install != "" {
		fmt.Fprintf(&b, "; install it with: %s", e.Install)
	} else {
		b.WriteString("; install its server package")
	}
	b.WriteString("; or name the folder of its programs in TASKER_PG_BIN")
	return b.String()
}

// errNoServer says that a folder does not hold the programs of a server.
var errNoServer = errors.New("no initdb and postgres there")

// Find returns the programs of the PostgreSQL to use: those in the folder
// $TASKER_PG_BIN names, else of pg_config, else the newest among the folders
// where packages put them, else on $PATH. What is older than [MinVersion] is
// passed over.
//
// The error is a [*NotFoundError] when there is none. A $TASKER_PG_BIN that
// cannot be used is an error of its own: another server would be a surprise.
func Find(ctx context.Context) (Binaries, error) {
	if dir := os.Getenv("TASKER_PG_BIN"); dir != "" {
		bin, err := inspect(ctx, dir)
		if err != nil {
			return Binaries{}, fmt.Errorf("use TASKER_PG_BIN=%s: %w", dir, err)
		}
		if bin.Version < MinVersion {
			return Binaries{}, fmt.Errorf("use TASKER_PG_BIN=%s: PostgreSQL %d is older than %d", dir, bin.Version, MinVersion)
		}
		return bin, nil
	}
	return find(ctx, candidates(ctx))
}

// find returns the newest of the first group that has a usable PostgreSQL.
func find(ctx context.Context, groups [][]string) (Binaries, error) {
	var tooOld []string
	for _, dirs := range groups {
		var best Binaries
		for _, dir := range dirs {
			bin, err := inspect(ctx, dir)
			switch {
			case err != nil: // not a server: look on
			case bin.Version < MinVersion:
				tooOld = append(tooOld, fmt.Sprintf("%d in %s", bin.Version, bin.Dir))
			case bin.Version > best.Version:
				best = bin
			}
		}
		if best.Version > 0 {
			return best, nil
		}
	}
	return Binaries{}, &NotFoundError{TooOld: tooOld, Install: installCommand()}
}

// packageDirs are the folders where packages put the programs of a server:
// Debian, PGDG for Red Hat, Alpine, and Homebrew on Apple, Intel and Linux.
var packageDirs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
}

// candidates returns the folders to look into, the preferred group first.
func candidates(ctx context.Context) [][]string {
	var configured, packaged, path []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		configured = append(configured, strings.TrimSpace(string(out)))
	}
	for _, pattern := range packageDirs {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		packaged = append(packaged, dirs...)
	}
	if postgres, err := exec.LookPath("postgres"); err == nil {
		path = append(path, filepath.Dir(postgres))
	}
	return [][]string{configured, packaged, path}
}

// inspect says which PostgreSQL is in dir.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, errNoServer
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, errNoServer
	}
	version, err := parseVersion(string(out))
	if err != nil {
		return Binaries{}, err
	}
	return Binaries{Dir: dir, Version: version}, nil
}

// majorVersion finds the 15 of "postgres (PostgreSQL) 15.18 (Debian …)" and the
// 18 of "postgres (PostgreSQL) 18beta1".
var majorVersion = regexp.MustCompile(`\(PostgreSQL\) (\d{1,4})`)

// parseVersion returns the major version in what postgres --version printed.
func parseVersion(s string) (int, error) {
	m := majorVersion.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("no PostgreSQL version in %q", strings.TrimSpace(s))
	}
	return strconv.Atoi(m[1])
}

// installers are the commands that install PostgreSQL, by the package manager
// they need. scripts/ensure.sh, which the make targets use, knows the same packages.
var installers = []struct{ manager, command string }{
	{"brew", "brew install postgresql@17"},
	{"apt-get", "sudo apt-get install -y postgresql"},
	{"dnf", "sudo dnf install -y postgresql-server postgresql-contrib"},
	{"apk", "sudo apk add postgresql postgresql-contrib"},
	{"pacman", "sudo pacman -S --noconfirm postgresql"},
	{"zypper", "sudo zypper install -y postgresql-server postgresql-contrib"},
}

// installCommand returns the command that installs PostgreSQL here, as the
// present user has to type it.
func installCommand() string {
	i := slices.IndexFunc(installers, func(i struct{ manager, command string }) bool {
		_, err := exec.LookPath(i.manager)
		return err == nil
	})
	if i < 0 {
		return ""
	}
	if os.Geteuid() == 0 {
		return strings.TrimPrefix(installers[i].command, "sudo ")
	}
	return installers[i].command
}
