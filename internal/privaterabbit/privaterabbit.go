// Package privaterabbit runs a RabbitMQ node of one's own, for the tests and
// the benchmark: data in a temporary folder, free ports of 127.0.0.1, a port mapper, a
// cookie and a home folder of its own. It never touches a broker of the system
// and runs as whoever starts it.
//
// A node does not outlive its owner, the process that started it: a small shell
// script (watchdog.sh) holds the other end of a pipe from the owner and ends the
// node when that is gone, be it by kill -9.
package privaterabbit

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed watchdog.sh
var watchdog string

// User is the administrator of a private node, and its only user.
const User = "tasker"

// patience is how long a node may take to start, on a machine that is busy.
const patience = 3 * time.Minute

// A Server is a RabbitMQ node. Its methods may be called concurrently.
type Server struct {
	programs programs
	dir      string
	password string
	ports    ports
	control  *os.File // the watchdog ends the node when this is closed
	keeper   *exec.Cmd

	mu   sync.Mutex
	node *exec.Cmd // nil while it is down
}

// ports are free when they are chosen.
type ports struct{ amqp, management, mapper, distribution int }

// Start starts a node and returns once it accepts connections. No RabbitMQ on
// this machine is a [*NotFoundError].
func Start(ctx context.Context) (*Server, error) {
	s, err := start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start private RabbitMQ: %w", err)
	}
	return s, nil
}

func start(ctx context.Context) (*Server, error) {
	found, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{programs: found, password: rand.Text()}
	if s.dir, err = os.MkdirTemp("", "tasker-rabbit-"); err != nil {
		return nil, err
	}
	if s.ports, err = freePorts(ctx); err == nil {
		err = s.configure()
	}
	if err == nil {
		err = s.watch()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func freePorts(ctx context.Context) (p ports, err error) {
	for _, port := range []*int{&p.amqp, &p.management, &p.mapper, &p.distribution} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return p, err
		}
		defer listener.Close() // all stay taken until each has been chosen
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

// configure writes the node's files. Virtual hosts are made through the HTTP
// API, since each call of rabbitmqctl starts an Erlang of its own.
func (s *Server) configure() error {
	files := map[string]string{
		"rabbitmq.conf": fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
management_agent.disable_metrics_collector = true
default_user = %s
default_pass = %s
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 10MB
`, s.ports.amqp, s.ports.management, User, s.password),
		"enabled_plugins": "[rabbitmq_management].\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// watch starts the watchdog with the port mapper.
func (s *Server) watch() error {
	stdin, control, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", watchdog, "watchdog.sh", s.dir, // our own script; it outlives every context
		s.programs.epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(s.ports.mapper))
	cmd.Dir, cmd.Stdin, cmd.SysProcAttr = "/", stdin, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, control.Close())
	}
	s.control, s.keeper = control, cmd
	return nil
}

// Restart starts the node after a [Server.Kill], on the same data and ports.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		return errors.New("the node runs")
	}
	log, err := os.OpenFile(s.file("log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", `echo $$ >node.pid; exec "$0"`, // the same
		filepath.Join(s.programs.home, "sbin", "rabbitmq-server"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.environment(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.node = cmd
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // how it ended does not matter
	return s.await(ctx, ended)
}

// environment is all that the node sees of the world: a small Erlang that does
// not spin while it is idle, since tests share the machine with it.
func (s *Server) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + s.dir,
		"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + strconv.Itoa(s.ports.mapper),
		"RABBITMQ_HOME=" + s.programs.home,
		"RABBITMQ_NODENAME=tasker" + strconv.Itoa(s.ports.amqp) + "@localhost",
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(s.ports.distribution),
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE=" + s.file("rabbitmq"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + s.file("enabled_plugins"),
		"RABBITMQ_MNESIA_BASE=" + s.file("data"),
		"RABBITMQ_LOG_BASE=" + s.file("logs"),
		"RABBITMQ_PID_FILE=" + s.file("rabbit.pid"),
		"RABBITMQ_ALLOW_INPUT=1", // makes the script become the node
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none -noinput",
	}
}

// await waits until the node answers over both ports.
func (s *Server) await(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if s.answers(ctx) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ended:
			s.node = nil
			return fmt.Errorf("the node ended while starting:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%w; the node says:\n%s", context.Cause(ctx), s.logTail())
		}
	}
}

func (s *Server) answers(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.amqp)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return Do(ctx, s.ManagementURL(), http.MethodGet, "api/vhosts") == nil
}

func (s *Server) logTail() string {
	text, err := os.ReadFile(s.file("log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(text, nil))), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// URL is the address of a virtual host of the node; "/" is there from the
// start.
func (s *Server) URL(vhost string) string {
	return VHost((&url.URL{
		Scheme: "amqp", User: url.UserPassword(User, s.password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.amqp)),
	}).String(), vhost)
}

// VHost returns the URL of another virtual host of the same broker.
func VHost(brokerURL, vhost string) string {
	u, err := url.Parse(brokerURL)
	if err != nil {
		return brokerURL
	}
	u.Path, u.RawPath = "/"+vhost, "/"+url.PathEscape(vhost)
	return u.String()
}

// ManagementURL is the address of the node's HTTP API, for [Do].
func (s *Server) ManagementURL() string {
	return (&url.URL{
		Scheme: "http", User: url.UserPassword(User, s.password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports.management)), Path: "/",
	}).String()
}

// Do sends a request without a body to the HTTP API at the URL.
func Do(ctx context.Context, managementURL, method, path string) error {
	req, err := http.NewRequestWithContext(ctx, method, managementURL+path, http.NoBody)
	if err != nil {
		return errors.New("the URL of the broker's HTTP API does not parse") // err would show the password
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // net/http leaves the password out
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

// Kill ends the node as kill -9 does. Nothing is left running, and what it had
// confirmed stays.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil {
		return errors.New("the node is down")
	}
	err := s.signal(syscall.SIGKILL)
	for err == nil && s.node.Process.Signal(syscall.Signal(0)) == nil {
		time.Sleep(10 * time.Millisecond) // the goroutine of Restart reaps it
	}
	s.node = nil
	return err
}

// Pause stops the node in its tracks, as a network that swallows all does.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal(syscall.SIGSTOP)
}

// Resume lets a paused node go on.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) error {
	if s.node == nil {
		return errors.New("the node is down")
	}
	return s.node.Process.Signal(sig)
}

// Close ends the node and removes its data.
func (s *Server) Close() error {
	if err := s.control.Close(); err != nil {
		return err
	}
	_ = s.keeper.Wait() // the script's exit code says nothing
	return nil
}
