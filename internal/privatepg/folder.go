package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What a server's folder holds besides its socket.
const (
	dataDir      = "data"           // PostgreSQL's own
	newDataDir   = "data.new"       // data until it is complete
	passwordFile = "password"       // of the role, for TCP
	logFile      = "server.log"     // what the server of the last start said
	ownerLock    = "owner.lock"     // held by the owner
	serverLock   = "server.lock"    // held by the owner and all processes of the server
	pidFile      = "postmaster.pid" // in dataDir, written by PostgreSQL
)

const (
	// temporaryName is how throw-away folders begin.
	temporaryName = "tasker-pg-"

	// youngest is the age from which an unlocked throw-away folder is taken
	// for abandoned; a younger one may be about to be locked.
	youngest = time.Minute

	// longestSocketPath is what fits into a socket address on every system.
	longestSocketPath = 103

	// tick is how often a state is looked at that no event announces.
	tick = 10 * time.Millisecond
)

// makeTemporary gives s a throw-away folder, locked, and removes abandoned ones.
func (s *Server) makeTemporary(ctx context.Context) (err error) {
	if s.account, err = serverAccount(""); err != nil {
		return err
	}
	parent := os.TempDir()
	if s.account.enter(ctx, parent) != nil {
		parent = "/tmp" // root's own TMPDIR, closed to others
	}
	sweep(parent, s.account.uid())
	if s.dir, err = os.MkdirTemp(parent, temporaryName); err != nil {
		return err
	}
	s.scratch = s.dir
	if err = s.account.own(s.dir); err == nil {
		s.locks, err = acquire(ctx, s.dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	return nil
}

// openPersistent gives s the folder that its options name, locked, or attaches
// s to the server that another process runs there.
func (s *Server) openPersistent(ctx context.Context) (err error) {
	if s.dir, err = filepath.Abs(s.opts.Dir); err != nil {
		return err
	}
	if s.account, err = serverAccount(s.dir); err != nil {
		return err
	}
	parent := filepath.Dir(s.dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if err := s.account.enter(ctx, parent); err != nil {
		return err
	}
	if err := s.takeOver(); err != nil {
		return err
	}
	if s.locks, err = acquire(ctx, s.dir); errors.Is(err, errOwned) {
		s.address, err = readAddress(s.dir)
	}
	return err
}

// takeOver makes the folder that of the server's user, closed to all others,
// unless it is something else's folder.
func (s *Server) takeOver() error {
	if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(s.dir, ownerLock)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("folder %s is not empty and not of a private server; choose another", s.dir)
		}
		return nil
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return err
	}
	return s.account.own(s.dir)
}

// initialise makes the data folder unless it is there.
func (s *Server) initialise(ctx context.Context) error {
	data := filepath.Join(s.dir, dataDir)
	switch version, err := os.ReadFile(filepath.Join(data, "PG_VERSION")); {
	case err == nil:
		return s.checkVersion(strings.TrimSpace(string(version)))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	fresh := filepath.Join(s.dir, newDataDir)
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := s.newPassword(); err != nil {
		return fmt.Errorf("write password of role %s: %w", Role, err)
	}
	args := []string{
		"--pgdata=" + fresh, "--username=" + Role, "--pwfile=" + filepath.Join(s.dir, passwordFile),
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if s.opts.Dir == "" {
		args = append(args, "--no-sync")
	}
	if err := s.run(ctx, "", "initdb", args...); err != nil {
		return err
	}
	if err := s.run(ctx, "create database "+Database+"\n", "postgres", "--single", "-D", fresh, "postgres"); err != nil {
		return err
	}
	return os.Rename(fresh, data)
}

// checkVersion refuses data that another major version wrote.
func (s *Server) checkVersion(data string) error {
	if data == strconv.Itoa(s.bin.Version) {
		return nil
	}
	return fmt.Errorf("the data in %s is of PostgreSQL %s, the programs in %s are of %d: "+
		"name the folder of the right ones in TASKER_PG_BIN, or remove the data",
		s.dir, data, s.bin.Dir, s.bin.Version)
}

// chooseSocketDir returns the server's folder or, where its path is too long
// for a socket, a temporary one.
func (s *Server) chooseSocketDir() (string, error) {
	if len(filepath.Join(s.dir, ".s.PGSQL.65535")) <= longestSocketPath {
		return s.dir, nil
	}
	dir, err := os.MkdirTemp("/tmp", temporaryName)
	if err != nil {
		return "", fmt.Errorf("make folder for socket: %w", err)
	}
	s.scratch = dir
	return dir, s.account.own(dir)
}

// sweep removes the throw-away folders in parent that belong to uid and whose
// owner and server are dead. What cannot be removed stays for the next one.
func sweep(parent string, uid int) {
	dirs, _ := filepath.Glob(filepath.Join(parent, temporaryName+"*")) // the pattern is well-formed
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || ownerOf(info) != uid || time.Since(info.ModTime()) < youngest {
			continue
		}
		name := filepath.Join(dir, serverLock)
		if _, err := os.Lstat(name); err != nil {
			continue
		}
		if lock, err := tryLock(name); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

// locks are the two locks of a server's folder.
type locks struct{ owner, server *os.File }

// errOwned says that another process owns the server of a folder, and that the
// server accepts connections.
var errOwned = errors.New("folder has an owner")

// acquire takes the locks of dir. A server whose owner is dead gets the time
// to end. When another process owns the server, acquire waits until it is up
// and returns errOwned.
func acquire(ctx context.Context, dir string) (*locks, error) {
	var l locks
	err := poll(ctx, func() (done bool, err error) {
		if l.owner == nil {
			l.owner, err = tryLock(filepath.Join(dir, ownerLock))
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if accepts(ctx, dir) {
				return true, errOwned
			}
			return false, nil
		}
		if err == nil {
			l.server, err = tryLock(filepath.Join(dir, serverLock))
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		l.release()
		return nil, err
	}
	return &l, nil
}

// release gives the locks up. A lock's file stays: removing it would let two
// processes lock two files of one name.
func (l *locks) release() {
	_ = l.server.Close() // nil is fine, as is a second time
	_ = l.owner.Close()
}

// tryLock locks the file, made if need be, for whoever inherits the
// descriptor. The error is EWOULDBLOCK when another one has it.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// poll calls check until it is done or fails, or ctx ends.
func poll(ctx context.Context, check func() (done bool, err error)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if done, err := check(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
