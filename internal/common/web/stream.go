package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// An Event is one of a stream of server-sent events.
type Event struct {
	ID   string // a client that comes back sends the last in Last-Event-ID
	Name string
	Data any // is sent as JSON
}

// Next waits for what comes next in a stream, until ctx ends; then it returns
// the error of ctx. After [io.EOF], along with the last events, nothing comes.
type Next func(ctx context.Context) ([]Event, error)

const (
	maxStreams    = 200              // at once, of a server
	heartbeat     = 15 * time.Second // between comments while nothing happens: proxies cut what is silent
	streamLife    = time.Hour        // then the client comes back, and shows once more that it may
	streamTimeout = 10 * time.Second // of one write
)

// HandleStream adds a route that answers with server-sent events, or with 204
// when open returns neither: the client need not come back. A stream outlives the
// deadline of the request and ends with the server.
func HandleStream[I any](a *API, r Route, open func(context.Context, *I) (Next, error)) {
	Handle(a, r, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		if a.streams.Load() >= maxStreams {
			return nil, &busyError{fmt.Sprintf("%d streams are open already", maxStreams)}
		}
		next, err := open(ctx, in)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // a stream has the context of its connection
			if next == nil {
				hc.SetStatus(http.StatusNoContent)
				return
			}
			a.stream(hc, next)
		}}, nil
	})
	op := a.huma.OpenAPI().Paths[r.Path].Get
	op.Responses["200"] = &huma.Response{
		Description: "Events, until the client goes, the server stops, or an hour has passed",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	op.Responses["204"] = &huma.Response{Description: "There will be no further events"}
}

// lifeKey is where the context of a request holds the one of its connection,
// which has no deadline.
type lifeKey struct{}

func (a *API) stream(hc huma.Context, next Next) {
	w, ok := hc.BodyWriter().(http.ResponseWriter)
	life, known := hc.Context().Value(lifeKey{}).(context.Context)
	if !ok || !known {
		panic("web: a stream outside of a server")
	}
	a.streams.Add(1)
	a.inHand.Add(-1) // streams are bounded by themselves
	defer func() { a.inHand.Add(1); a.streams.Add(-1) }()
	ctx, cancel := context.WithTimeout(life, streamLife)
	defer cancel()
	defer context.AfterFunc(a.ending, cancel)()

	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // a recorder in a test has no deadlines
	write := func(text string) error {
		_ = out.SetWriteDeadline(time.Now().Add(streamTimeout))
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return out.Flush()
	}
	for name, value := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		hc.SetHeader(name, value)
	}
	hc.SetStatus(http.StatusOK)
	err := write("retry: 1000\n\n")
	for err == nil {
		err = pump(ctx, next, write)
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		a.settings.Log.LogAttrs(ctx, slog.LevelWarn, "stream ended", slog.Any("error", err))
	}
}

// pump sends what comes next, or a comment when nothing does.
func pump(ctx context.Context, next Next, write func(string) error) error {
	waiting, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	events, err := next(waiting)
	var text strings.Builder
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Name, data)
	}
	if quiet := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil; quiet {
		text.WriteString(": heartbeat\n\n")
		err = nil
	}
	if text.Len() > 0 {
		if failed := write(text.String()); failed != nil {
			return failed
		}
	}
	return err
}
