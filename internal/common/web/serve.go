// Package web serves the HTTP APIs of both roles: it turns routes into a server
// and an OpenAPI document, and errors into problems (RFC 9457). What the routes
// do, the roles know.
//
// Start with [API] and [Handle]; [API.Serve] runs the server.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// What the configuration does not name: bounds on clients that are slow or idle.
const (
	headerTimeout = 10 * time.Second // no longer than the whole request either
	writeSlack    = 10 * time.Second // to send a response made at the last moment
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// Serve answers requests until ctx ends, then lets those in hand finish, for
// at most the grace of the settings. Ready, unless nil, is called with the
// address once it listens. When the server is turned off Serve only waits, and
// the address is empty.
func (a *API) Serve(ctx context.Context, ready func(address string)) error {
	if ready == nil {
		ready = func(string) {}
	}
	if !a.settings.Web.Enabled {
		ready("")
		<-ctx.Done()
		return nil
	}
	handler, err := a.Handler()
	if err != nil {
		return err
	}
	listener, err := a.listen(ctx)
	if err != nil {
		return err
	}
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	server := a.server(requests, handler)
	var stopping sync.WaitGroup
	defer stopping.Wait()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	stopping.Go(func() {
		<-serving.Done()
		a.end()
		a.shutDown(context.WithoutCancel(ctx), server, cancelRequests)
	})
	ready(listener.Addr().String())
	if err := a.accept(server, listener); !errors.Is(err, http.ErrServerClosed) { //nolint:contextcheck // handshakes have a context of their own
		return fmt.Errorf("serve HTTP on %s: %w", listener.Addr(), err)
	}
	return nil
}

func (a *API) listen(ctx context.Context) (net.Listener, error) {
	address := a.settings.Web.BindAddress
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return listener, nil
	}
	key := a.settings.Section + ".bind_address"
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s = %q: the port is in use; stop what listens there or choose another (port 0 takes a free one)", key, address)
	}
	return nil, fmt.Errorf("%s = %q: %w", key, address, err)
}

func (a *API) server(requests context.Context, handler http.Handler) *http.Server {
	// A deadline on reading that passes while a handler works would cancel it,
	// so this one lies behind that of the request.
	whole := a.settings.Web.RequestTimeout.Duration() + writeSlack
	header := min(headerTimeout, a.settings.Web.RequestTimeout.Duration())
	return &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: header,
		ReadTimeout:       header + whole,
		WriteTimeout:      whole,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.settings.Log.Handler(), slog.LevelDebug),
	}
}

// shutDown asks politely, then ends the requests that still run, then cuts
// connections whose clients are slow.
func (a *API) shutDown(ctx context.Context, server *http.Server, cancelRequests context.CancelFunc) {
	if finish(ctx, server, a.settings.Grace) {
		return
	}
	cancelRequests()
	if finish(ctx, server, time.Second) {
		return
	}
	_ = server.Close() // nothing is left to be done about it
}

// finish stops accepting and reports whether all requests ended within d.
func finish(ctx context.Context, server *http.Server, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return server.Shutdown(ctx) == nil
}
