package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/webhook"
)

// maxAnswer is how much of an answer's body is read, so that the connection can
// be used again.
const maxAnswer = 64 << 10

// send makes one attempt. A result without a state says that the shutdown cut
// it short.
func (s *Sender) send(ctx context.Context, d postgres.Delivery) postgres.DeliveryResult {
	r := postgres.DeliveryResult{ID: d.ID, Claim: d.Claim}
	status, after, err := s.post(ctx, d)
	if ctx.Err() != nil {
		return r
	}
	r.Status, r.State = status, postgres.DeliveryDelivered
	if err == nil {
		return r
	}
	r.Error, r.State = err.Error(), postgres.DeliveryPending
	r.Delay = max(s.delay(d.Attempts+1), min(after, s.cfg.MaxDelay.Duration()))
	level := "webhook delivery failed; trying again"
	if d.Attempts+1 >= s.cfg.MaxAttempts || status == http.StatusGone || errors.Is(err, webhook.ErrRefused) {
		r.State = postgres.DeliveryDead
		level = "webhook delivery given up"
	}
	s.log.WarnContext(ctx, level, "webhook", d.Webhook, "delivery", d.ID, "event", d.Event, //nolint:sloglint // one of two texts
		"attempt", d.Attempts+1, "status", status, "error", r.Error, "delay", r.Delay)
	return r
}

// delay is the wait after so many failed attempts.
func (s *Sender) delay(failures int) time.Duration {
	d := float64(s.cfg.InitialDelay.Duration()) * math.Pow(2, float64(failures-1))
	return time.Duration(min(d, float64(s.cfg.MaxDelay.Duration())))
}

// post sends a delivery. What the receiver answers other than 2xx is an error;
// after is what it asks to wait.
func (s *Sender) post(ctx context.Context, d postgres.Delivery) (status int, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout.Duration())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Payload))
	if err != nil {
		return 0, 0, errors.New("the URL does not parse")
	}
	key, err := webhook.ParseSecret(d.Secret)
	if err != nil {
		return 0, 0, err
	}
	id, now := "msg_"+d.ID.String(), time.Now()
	h := request.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "tasker-webhooks")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("Webhook-Signature", webhook.Sign(key, id, now, d.Payload))
	response, err := s.client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which may hold a password
		}
		return 0, 0, err
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // what it says is not our business
	if response.StatusCode/100 != 2 {
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return response.StatusCode, time.Duration(max(0, min(seconds, 86400))) * time.Second, fmt.Errorf("the receiver answered %d %s",
			response.StatusCode, http.StatusText(response.StatusCode))
	}
	return response.StatusCode, 0, nil
}
