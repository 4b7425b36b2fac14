package eventtest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A Server speaks as much of PostgreSQL's protocol as a listener needs, over
// pipes, so that it works within a bubble of synctest. Its fields say how it
// misbehaves; change them before the listener runs.
type Server struct {
	Down   func() bool           // connections are refused
	Frozen bool                  // connections are accepted, and nothing is answered
	Deaf   func(sql string) bool // a statement is not answered
	Fails  func(sql string) bool // a statement fails

	began time.Time
	mu    sync.Mutex
	seen  []Seen
	conns []*conn
}

// Seen is what a server was asked for, and when, counted from its start.
type Seen struct {
	At  time.Duration
	SQL string // "connect" for a connection
}

type conn struct {
	net.Conn

	mu      sync.Mutex // held while writing
	backend *pgproto3.Backend
}

// NewServer returns a server that answers all.
func NewServer() *Server {
	no := func(string) bool { return false }
	return &Server{Down: func() bool { return false }, Deaf: no, Fails: no, began: time.Now()}
}

// Config returns how to connect to the server.
func (s *Server) Config(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig("postgresql://u@127.0.0.1:1/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = s.dial
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	return cfg
}

// Seen returns what was asked for that equals sql, or all if it is empty, with
// the times in seconds.
func (s *Server) Seen(sql string) (seconds []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.seen {
		if seen.SQL == sql {
			seconds = append(seconds, seen.At.Seconds())
		}
	}
	return seconds
}

// Notify sends notifications of a channel to all connections, in the background.
func (s *Server) Notify(channel string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		go func() {
			for range times {
				c.send(&pgproto3.NotificationResponse{Channel: channel})
			}
		}()
	}
}

// Cut closes all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close() // the other end notices
	}
	s.conns = nil
}

func (s *Server) note(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, Seen{time.Since(s.began), sql})
}

func (s *Server) dial(context.Context, string, string) (net.Conn, error) {
	if s.Down() {
		s.note("connect")
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	c := &conn{Conn: server, backend: pgproto3.NewBackend(server, server)}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	go s.serve(c)
	return client, nil
}

func (s *Server) serve(c *conn) {
	defer c.Close()
	hello, err := c.backend.ReceiveStartupMessage()
	if _, connects := hello.(*pgproto3.StartupMessage); err != nil || !connects {
		return // it asks to cancel a statement
	}
	s.note("connect")
	if !s.Frozen {
		c.send(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
	for {
		message, err := c.backend.Receive()
		if err != nil {
			return
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			return // goodbye
		}
		s.note(query.String)
		switch {
		case s.Deaf(query.String):
		case s.Fails(query.String):
			c.send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "53000", Message: "not now"}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		default:
			c.send(&pgproto3.CommandComplete{CommandTag: []byte("LISTEN")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

func (c *conn) send(messages ...pgproto3.BackendMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range messages {
		c.backend.Send(m)
	}
	_ = c.backend.Flush() // a client that is gone needs no answer
}
