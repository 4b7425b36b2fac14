package privatepg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	// Role is the superuser of a private server, and its only role.
	Role = "tasker"

	// Database is the empty database that a new server has.
	Database = "tasker"
)

// ErrAttached is returned when a server that another process owns is to be
// killed or restarted.
var ErrAttached = errors.New("the server belongs to another process")

// errClosed is returned when a server is used after Close.
var errClosed = errors.New("the server is closed")

// Options say what server to start. The zero value is a throw-away server
// that is as fast as can be and may lose everything when the machine fails.
type Options struct {
	// Dir is the folder that keeps the data from one start to the next. It
	// must not exist yet, be empty, or come from an earlier start. Empty
	// means a temporary folder, removed by Close.
	Dir string

	// Durable keeps fsync and synchronous_commit on, so that what was
	// committed survives [Server.Kill]. A server with a Dir always is.
	Durable bool

	// Listen is the loopback host:port to serve on besides the Unix socket.
	// Port 0 takes a free one. Empty means none.
	Listen string

	// Settings are PostgreSQL's own, by name, and win over the package's. A
	// shared_preload_libraries = pg_stat_statements needs the contrib package
	// on some systems.
	Settings map[string]string
}

// durable reports whether commits survive a crash.
func (o Options) durable() bool { return o.Durable || o.Dir != "" }

// A Server is a running PostgreSQL. Its methods may be called concurrently.
// Whoever starts one holds on to it: the server also ends when the value is
// garbage-collected.
type Server struct {
	opts     Options
	bin      Binaries
	account  *account // whom the server runs as, nil for oneself
	dir      string
	settings map[string]string
	locks    *locks // nil when attached
	scratch  string // what to remove at the end, "" for nothing

	mu       sync.Mutex
	closed   bool
	process  *process // nil while the server is down
	address  address
	password string
}

// Start starts a server, or attaches to the one that another process runs on
// opts.Dir; then the other options have no effect. It returns once the server
// accepts connections, or when ctx ends. ctx does not bound the server's life.
//
// No PostgreSQL on this machine is a [*NotFoundError].
func Start(ctx context.Context, opts Options) (*Server, error) {
	s, err := start(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start private PostgreSQL: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, opts Options) (*Server, error) {
	bin, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, bin: bin}
	if opts.Dir == "" {
		err = s.makeTemporary(ctx)
	} else {
		err = s.openPersistent(ctx)
	}
	if err != nil {
		return nil, err
	}
	if s.locks == nil {
		return s, s.readPassword() // attached
	}
	if err := s.serve(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// serve runs a server in the folder that s has locked.
func (s *Server) serve(ctx context.Context) error {
	if err := s.initialise(ctx); err != nil {
		return err
	}
	if err := s.readPassword(); err != nil {
		return err
	}
	socketDir, err := s.chooseSocketDir()
	if err != nil {
		return err
	}
	if s.settings, err = settings(ctx, s.opts, socketDir); err != nil {
		return err
	}
	return s.launch(ctx)
}

// settings returns what the server is started with.
func settings(ctx context.Context, opts Options, socketDir string) (map[string]string, error) {
	set := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": `"` + strings.ReplaceAll(socketDir, `"`, `""`) + `"`,
		"max_connections":         "200",
		"shared_buffers":          "256MB",
		"max_wal_size":            "2GB", // else a burst runs into checkpoints
		"jit":                     "off", // compiling costs more than these short statements
		"timezone":                "UTC",
	}
	if !opts.durable() {
		set["fsync"] = "off"
		set["synchronous_commit"] = "off"
		set["full_page_writes"] = "off"
	}
	if opts.Listen != "" {
		host, port, err := freeAddress(ctx, opts.Listen)
		if err != nil {
			return nil, err
		}
		set["listen_addresses"], set["port"] = host, port
	}
	maps.Copy(set, opts.Settings)
	return set, nil
}

// freeAddress splits host:port, and says at once when it is taken. Port 0
// becomes a free one.
func freeAddress(ctx context.Context, listen string) (host, port string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", "", fmt.Errorf("listen on %s: %w", listen, err)
	}
	defer l.Close()
	return net.SplitHostPort(l.Addr().String())
}

// URL returns the URL of a database on the server's Unix socket. The server
// has [Database]; others are the caller's to create.
func (s *Server) URL(database string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := url.Values{"host": {s.address.socketDir}, "port": {strconv.Itoa(s.address.port)}}
	u := url.URL{Scheme: "postgres", User: url.User(Role), Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// TCPURL returns the URL of a database over TCP, password included; "" when
// the server is not on TCP.
func (s *Server) TCPURL(database string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address.host == "" {
		return ""
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(Role, s.password),
		Host:     net.JoinHostPort(s.address.host, strconv.Itoa(s.address.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Dir returns the server's folder. Its log is server.log in there.
func (s *Server) Dir() string { return s.dir }

// Attached reports whether another process owns the server, and ends it.
func (s *Server) Attached() bool { return s.locks == nil }

// Close stops the server, cutting off its clients, and removes a throw-away
// folder. It leaves alone a server that it is only attached to. Calling it
// again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locks == nil || s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.process != nil {
		err = s.process.stop()
		s.process = nil
	}
	if s.scratch != "" {
		err = errors.Join(err, os.RemoveAll(s.scratch))
	}
	s.locks.release()
	if err != nil {
		return fmt.Errorf("close private PostgreSQL: %w", err)
	}
	return nil
}

// Kill ends the server as a crash would, by SIGKILL, and returns when its last
// process has gone. [Server.Restart] brings it back. A server that is down
// stays down.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	switch {
	case s.locks == nil:
		return fmt.Errorf("kill private PostgreSQL: %w", ErrAttached)
	case s.closed:
		return fmt.Errorf("kill private PostgreSQL: %w", errClosed)
	case s.process == nil:
		return nil
	}
	if err := syscall.Kill(s.address.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill private PostgreSQL: %w", err)
	}
	err := s.process.wait()
	s.process = nil
	return err
}

// Restart starts the server again on the same data and the same URLs, after
// killing it if it runs. It returns once the server has recovered and accepts
// connections, or when ctx ends.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		return err
	}
	if err := s.launch(ctx); err != nil {
		return fmt.Errorf("restart private PostgreSQL: %w", err)
	}
	return nil
}

// readPassword sets the password that a TCP client needs.
func (s *Server) readPassword() error {
	password, err := os.ReadFile(filepath.Join(s.dir, passwordFile))
	if err != nil {
		return fmt.Errorf("read password of role %s: %w", Role, err)
	}
	s.password = strings.TrimSpace(string(password))
	return nil
}

// newPassword writes the file that initdb takes the role's password from.
func (s *Server) newPassword() error {
	name := filepath.Join(s.dir, passwordFile)
	if err := os.WriteFile(name, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	return s.account.own(name)
}
