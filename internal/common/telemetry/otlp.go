package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	uploadTimeout = 10 * time.Second // of one try
	uploadTries   = 3
	uploadPause   = time.Second // before the second try; twice that before the third
	quietFor      = 5 * time.Minute
	flushTimeout  = 5 * time.Second // of the end of a process
)

// An uploader sends messages of OTLP over HTTP: protobuf, compressed with gzip.
// The libraries that do so come with gRPC; this is the part that is needed. The
// collector's requests have the same wire format as the messages of data.
type uploader struct {
	url    string
	what   string // traces or metrics
	client *http.Client
	log    *slog.Logger

	mu     sync.Mutex
	warned time.Time // when a failure was logged last
	failed int       // failures since
}

// newUploader returns an uploader to an endpoint. One without a path is the
// base address of a collector, and gets the path that OTLP gives to what is sent.
func newUploader(endpoint, what string, log *slog.Logger) *uploader {
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/" + what
		endpoint = u.String()
	}
	return &uploader{url: endpoint, what: what, log: log, client: &http.Client{
		Timeout: uploadTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send sends a message, and again when the collector is busy or away. What does
// not get through is lost: it is logged, rarely, and is no error to anybody.
func (u *uploader) send(ctx context.Context, message proto.Message) {
	body, err := packed(message)
	for try := 1; err == nil; try++ {
		var again bool
		if again, err = u.post(ctx, body); err == nil {
			u.recovered(ctx)
			return
		}
		if !again || try == uploadTries || !pause(ctx, uploadPause<<(try-1)) {
			break
		}
		err = nil
	}
	u.complain(ctx, err)
}

func packed(message proto.Message) ([]byte, error) {
	raw, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if _, err := zip.Write(raw); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return body.Bytes(), nil
}

// post tries once, and says whether another try makes sense.
func (u *uploader) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "gzip")
	response, err := u.client.Do(request)
	if err != nil {
		return true, errors.Unwrap(err) // what wraps it repeats the URL, which may have a password
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)) // for the connection to be used again
	switch status := response.StatusCode; {
	case status/100 == 2:
		return false, nil
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway,
		status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return true, fmt.Errorf("the collector answers %d", status)
	default:
		return false, fmt.Errorf("the collector answers %d", status)
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// complain logs the first failure, and later ones every few minutes.
func (u *uploader) complain(ctx context.Context, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failed++
	if time.Since(u.warned) < quietFor {
		return
	}
	u.log.WarnContext(ctx, "telemetry not exported; what was to be sent is lost", "what", u.what, "failures", u.failed, "error", err)
	u.warned, u.failed = time.Now(), 0
}

func (u *uploader) recovered(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.warned.IsZero() {
		u.log.InfoContext(ctx, "telemetry is exported again", "what", u.what)
		u.warned, u.failed = time.Time{}, 0
	}
}

func (u *uploader) close() { u.client.CloseIdleConnections() }
