package privatepg

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed watchdog.sh
var watchdog string

// patience is how long a stopping server may take before it is given up. The
// watchdog uses force long before.
const patience = time.Minute

// A process is a server under its watchdog.
type process struct {
	cmd     *exec.Cmd
	control *os.File // the watchdog stops the server when this ends
	alive   *os.File // ends with the last process of the server
}

// launch starts the server and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	// With both locks held no server can be using the data, so a leftover
	// pid file is stale, even if its number has come to be another process's.
	if err := os.RemoveAll(filepath.Join(s.dir, dataDir, pidFile)); err != nil {
		return err
	}
	p, err := s.spawn()
	if err != nil {
		return err
	}
	for !accepts(ctx, s.dir) {
		if p.ended(tick) {
			return errors.Join(fmt.Errorf("the server ended while starting:\n%s", s.logTail()), p.wait())
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), p.stop())
		}
	}
	s.process = p
	s.address, err = readAddress(s.dir)
	return err
}

// spawn starts the watchdog with the server under it.
func (s *Server) spawn() (*process, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	stdin, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	alive, living, err := os.Pipe()
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	defer living.Close()

	args := []string{"-c", watchdog, "watchdog.sh", s.scratch, s.program("postgres"), "-D", filepath.Join(s.dir, dataDir)}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		args = append(args, "-c", name+"="+s.settings[name])
	}
	// The server outlives every context: Close and the watchdog end it.
	cmd := s.command(context.Background(), "/bin/sh", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	cmd.ExtraFiles = append(cmd.ExtraFiles, living)
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, control.Close(), alive.Close())
	}
	return &process{cmd, control, alive}, nil
}

// ended waits for the server's last process to end, for so long at most.
func (p *process) ended(within time.Duration) bool {
	_ = p.alive.SetReadDeadline(time.Now().Add(within)) // pipes have deadlines
	_, err := p.alive.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// stop has the watchdog stop the server, and waits for both.
func (p *process) stop() error {
	_, _ = io.WriteString(p.control, "stop\n") // fails when the watchdog has gone with the server
	return p.wait()
}

// wait waits for the end of a server that is stopping, and of its watchdog.
func (p *process) wait() error {
	defer p.control.Close()
	defer p.alive.Close()
	if !p.ended(patience) {
		return fmt.Errorf("the server did not stop within %v", patience)
	}
	_ = p.cmd.Wait() // the script's exit code says nothing
	return nil
}

// program returns the path of one of PostgreSQL's programs.
func (s *Server) program(name string) string { return filepath.Join(s.bin.Dir, name) }

// command prepares a program to run as the server's user, who inherits the
// server's lock as descriptor 3. Of the environment only PATH is passed on:
// PG… variables would meddle, and others may be secrets.
func (s *Server) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = s.account.process()
	cmd.ExtraFiles = []*os.File{s.locks.server}
	return cmd
}

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(ctx context.Context, stdin, program string, args ...string) error {
	cmd := s.command(ctx, s.program(program), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

// logTail returns the last lines of the server's log.
func (s *Server) logTail() string {
	log, err := os.ReadFile(filepath.Join(s.dir, logFile))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// An address is what a running server says of itself in its pid file.
type address struct {
	pid       int
	port      int
	socketDir string
	host      string // "" when not on TCP
}

// socket returns the path of the server's socket.
func (a address) socket() string {
	return filepath.Join(a.socketDir, ".s.PGSQL."+strconv.Itoa(a.port))
}

// accepts reports whether the server of dir accepts connections.
func accepts(ctx context.Context, dir string) bool {
	a, err := readAddress(dir)
	if err != nil {
		return false
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.socket())
	if err != nil {
		return false // a stale pid file
	}
	_ = conn.Close()
	return true
}

// readAddress reads the pid file of a server that is ready. The lines are
// described in PostgreSQL's miscadmin.h.
func readAddress(dir string) (address, error) {
	name := filepath.Join(dir, dataDir, pidFile)
	content, err := os.ReadFile(name)
	if err != nil {
		return address{}, err
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 8 || strings.TrimSpace(lines[7]) != "ready" {
		return address{}, fmt.Errorf("%s: the server is not ready", name)
	}
	pid, errPID := strconv.Atoi(lines[0])
	port, errPort := strconv.Atoi(lines[3])
	if err := errors.Join(errPID, errPort); err != nil {
		return address{}, fmt.Errorf("%s: %w", name, err)
	}
	return address{pid: pid, port: port, socketDir: lines[4], host: lines[5]}, nil
}
