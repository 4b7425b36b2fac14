package privatepg

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// An account is the user whom root runs a server as. A nil account is oneself.
type account struct {
	name       string
	credential syscall.Credential
}

// serverAccount returns whom the server with its data in dir runs as: nil for
// a process that is not root's; else who owns dir, if root does not; else
// postgres, or nobody. initdb wants a user that the system has a name for.
func serverAccount(dir string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(dir); err == nil && ownerOf(info) != 0 {
		u, err := user.LookupId(strconv.Itoa(ownerOf(info)))
		if err != nil {
			return nil, fmt.Errorf("find owner of %s: %w", dir, err)
		}
		return newAccount(u)
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("find a user to run as, since PostgreSQL refuses root: %w", err)
	}
	return newAccount(u)
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read id of user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read group of user %s: %w", u.Username, err)
	}
	return &account{u.Username, syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// uid returns the user's number.
func (a *account) uid() int {
	if a == nil {
		return os.Geteuid()
	}
	return int(a.credential.Uid)
}

// own gives the file or folder to the account.
func (a *account) own(name string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(name, int(a.credential.Uid), int(a.credential.Gid))
}

// process returns the attributes that start a program as the account, away
// from the terminal, whose Ctrl-C is meant for the owner alone.
func (a *account) process() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		attr.Credential = &a.credential
	}
	return attr
}

// enter tries whether the account can use the folder: what lies above it may
// be closed, as /root is.
func (a *account) enter(ctx context.Context, dir string) error {
	if a == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd -- "$1"`, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = a.process()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("user %s, as whom the server runs, cannot reach %s; choose another folder", a.name, dir)
	}
	return nil
}

// DefaultDir returns where the lasting server of a project keeps its data:
// .tasker/pg in the project's folder. Root may work in a folder that is closed
// to the server's user; then it is one of the project's own in /var/lib/tasker.
func DefaultDir(ctx context.Context, project string) (string, error) {
	project, err := filepath.Abs(project)
	if err != nil {
		return "", fmt.Errorf("find the server's folder: %w", err)
	}
	dir := filepath.Join(project, ".tasker", "pg")
	a, err := serverAccount(dir)
	if err != nil {
		return "", err
	}
	if a.enter(ctx, project) == nil {
		return dir, nil
	}
	name := fmt.Sprintf("%s-%.4x", filepath.Base(project), sha256.Sum256([]byte(project)))
	return filepath.Join("/var/lib/tasker", name), nil
}

// ownerOf returns the number of the user a file belongs to.
func ownerOf(info fs.FileInfo) int {
	return int(info.Sys().(*syscall.Stat_t).Uid)
}
