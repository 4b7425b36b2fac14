package web_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// start serves an API until stop is called, which returns what Serve does.
func start(t *testing.T, api *web.API) (address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, func(address string) { ready <- address }) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(cancel)
	select {
	case address = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return address, stop
}

// client returns a client whose connections end with the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func read(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(raw)
}

func TestServeTurnedOff(t *testing.T) {
	t.Parallel()
	s := settings(io.Discard)
	s.Web.Enabled = false
	s.Web.BindAddress = "256.0.0.1:0" // never looked at
	address, stop := start(t, newAPI(s))
	if address != "" {
		t.Errorf("it listens on %s", address)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestServeRefusesAnAddress(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for _, test := range []struct {
		name, address string
		want          []string
	}{
		{"in use", taken.Addr().String(), []string{"worker.system.web.bind_address", taken.Addr().String(), "the port is in use"}},
		{"no port", "127.0.0.1", []string{"worker.system.web.bind_address", "missing port"}},
		{"no host", "256.0.0.1:80", []string{"worker.system.web.bind_address", "256.0.0.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := settings(io.Discard)
			s.Web.BindAddress = test.address
			err := newAPI(s).Serve(t.Context(), func(string) { t.Error("it says that it is ready") })
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// blocking is an API with a route that says when it is entered and then waits
// to be let go.
func blocking(s web.Settings) (api *web.API, entered, leave chan struct{}) {
	api = newAPI(s)
	entered, leave = make(chan struct{}), make(chan struct{})
	type answer struct{ Body string }
	web.Handle(api, web.Route{ID: "block", Method: http.MethodGet, Path: "/block"},
		func(ctx context.Context, _ *empty) (*answer, error) {
			close(entered)
			select {
			case <-leave:
				return &answer{Body: "done"}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	return api, entered, leave
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	api, entered, leave := blocking(settings(io.Discard))
	address, stop := start(t, api)
	answered := make(chan string)
	go func() {
		status, body := read(t, client(t), "http://"+address+"/block")
		answered <- fmt.Sprint(status, " ", strings.TrimSpace(body))
	}()
	<-entered
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	untilRefused(t, address)
	close(leave)
	if got := <-answered; got != `200 "done"` {
		t.Errorf("got %s", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// untilRefused waits for the server to stop listening.
func untilRefused(t *testing.T, address string) {
	t.Helper()
	var d net.Dialer
	for t.Context().Err() == nil {
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		conn.Close()
	}
}

func TestShutdownEndsRequestsAfterItsGrace(t *testing.T) {
	t.Parallel()
	s := settings(io.Discard)
	s.Grace = time.Millisecond
	api, entered, _ := blocking(s)
	address, stop := start(t, api)
	answered := make(chan string)
	go func() {
		status, body := read(t, client(t), "http://"+address+"/block")
		answered <- fmt.Sprint(status, " ", body)
	}()
	<-entered
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-answered; !strings.HasPrefix(got, "503") || !strings.Contains(got, "SERVICE_UNAVAILABLE") {
		t.Errorf("got %s", got)
	}
}

// TestSlowBodyIsRefused sends a part of a body and waits.
func TestSlowBodyIsRefused(t *testing.T) {
	t.Parallel()
	s := settings(io.Discard)
	s.Web.RequestTimeout = 100
	address, stop := start(t, newAPI(s))
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), string(web.Timeout)) {
		t.Errorf("got %d, %s, %v", response.StatusCode, body, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
