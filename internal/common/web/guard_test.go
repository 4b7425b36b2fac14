package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/breakers"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// newGuarded returns an API with a route that brings tasks, one that reads, one
// for everybody and one that needs no database; all end as end says.
func newGuarded(t *testing.T, guard web.Guard, end func(context.Context) error) http.Handler {
	t.Helper()
	s := settings(io.Discard)
	s.Guard = guard
	api := web.New(s)
	for path, r := range map[string]web.Route{
		"/create": {Permission: permission.TasksCreate, Intake: true},
		"/read":   {Permission: permission.TasksRead},
		"/public": {Permission: permission.Public},
		"/aside":  {Permission: permission.SystemConfigRead, Aside: true},
	} {
		r.ID, r.Method, r.Path = path[1:], http.MethodPost, path
		web.Handle(api, r, func(ctx context.Context, _ *struct{}) (*empty, error) { return nil, end(ctx) })
	}
	h, err := api.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// codeOf returns the code of an answer and what its Retry-After says.
func codeOf(t *testing.T, w *httptest.ResponseRecorder) (code web.Code, after int) {
	t.Helper()
	var p web.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	after, _ = strconv.Atoi(w.Header().Get("Retry-After"))
	if p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-ID") || p.Status != w.Code {
		t.Errorf("got %+v", p)
	}
	return p.Code, after
}

// TestOverload: while a process is overloaded no tasks are brought in; all else
// goes on.
func TestOverload(t *testing.T) {
	t.Parallel()
	why := "the disk is full"
	h := newGuarded(t, web.Guard{Overload: func() string { return why }}, func(context.Context) error { return errMissing })
	for range 2 {
		for route, refused := range map[string]bool{"POST /create": why != "", "POST /read": false, "POST /public": false, "POST /aside": false} {
			code, after := codeOf(t, ask(t, h, route, "", ""))
			if refused != (code == web.Backpressure) || refused && (after < 1 || after > 4) || !refused && code != web.NotFound {
				t.Errorf("%s, overload %q: %s, come back after %d s", route, why, code, after)
			}
		}
		why = ""
	}
}

// TestMostAtOnce: how many requests may be in hand, those for everybody apart.
func TestMostAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := newGuarded(t, web.Guard{Most: 2}, func(context.Context) error { <-release; return errMissing })
		answers := make(chan web.Code, 10)
		send := func(route string) {
			go func() {
				code, _ := codeOf(t, ask(t, h, route, "", ""))
				answers <- code
			}()
			synctest.Wait()
		}
		for _, route := range []string{"POST /public", "POST /read", "POST /aside", "POST /create", "POST /public"} {
			send(route)
		}
		if got := len(answers); got != 1 {
			t.Fatalf("%d requests are refused while two are in hand, want 1", got)
		}
		if code := <-answers; code != web.Backpressure {
			t.Errorf("refused with %s", code)
		}
		close(release)
		synctest.Wait()
		for range 4 {
			if code := <-answers; code != web.NotFound {
				t.Errorf("a request in hand ends with %s", code)
			}
		}
		send("POST /read")
		if code := <-answers; code != web.NotFound {
			t.Errorf("with nothing in hand a request is answered with %s", code)
		}
	})
}

// TestBreaker: when what the routes stand on keeps failing, they are refused until
// it may have come back. What clients do wrong, and requests they give up, do not
// count.
func TestBreaker(t *testing.T) {
	t.Parallel()
	newBreaker := func() *breakers.Breaker {
		return breakers.New(config.CircuitBreakers{
			Enabled: true, GlobalSettings: config.BreakerGlobals{MaxCircuitBreakers: 1},
			DefaultConfig: config.Breaker{FailureThreshold: 2, Timeout: 20, SuccessThreshold: 1},
		}, func(err error) bool { return errors.Is(err, errBusy) || errors.Is(err, context.DeadlineExceeded) },
			nil, slog.New(slog.DiscardHandler)).Of(breakers.Web)
	}
	synctest.Test(t, func(t *testing.T) {
		ends := errBusy
		h := newGuarded(t, web.Guard{Breaker: newBreaker()}, func(context.Context) error { return ends })
		expect := func(route string, want web.Code) (after int) {
			t.Helper()
			code, after := codeOf(t, ask(t, h, route, "", ""))
			if code != want {
				t.Errorf("%s is answered with %s, want %s", route, code, want)
			}
			return after
		}
		for range 3 {
			expect("POST /aside", web.Unavailable)
			expect("POST /public", web.Unavailable)
		}
		expect("POST /read", web.Unavailable)
		ends = errMissing
		expect("POST /create", web.NotFound)
		ends = errBusy
		expect("POST /read", web.Unavailable)
		expect("POST /create", web.Unavailable)
		<-time.After(5 * time.Second)
		if after := expect("POST /read", web.CircuitBreakerOpen); after < 15 || after > 16 {
			t.Errorf("told to come back after %d s, want 15", after)
		}
		expect("POST /public", web.Unavailable)
		<-time.After(15*time.Second + 1)
		ends = errMissing
		expect("POST /read", web.NotFound)
		expect("POST /create", web.NotFound)
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker()
		h := newGuarded(t, web.Guard{Breaker: b}, func(ctx context.Context) error { <-ctx.Done(); return errBusy })
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/read", http.NoBody)
			go func() { <-time.After(time.Second / 2); cancel() }()
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		if b.After() > 0 {
			t.Error("requests that clients have given up open the breaker")
		}
		for range 2 {
			ask(t, h, "POST /read", "", "")
		}
		if b.After() == 0 {
			t.Error("requests that take too long do not open the breaker")
		}
	})
}
