package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestWebhooks: the secret is told once, whoever made it up.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	made := read[web.Webhook](s, s.ask("POST", "/v1/webhooks", `{"url": "https://example.com/a", "events": ["task.failed", "task.completed"]}`), http.StatusCreated)
	given := read[web.Webhook](s, s.ask("POST", "/v1/webhooks",
		`{"url": "https://example.com/b", "events": ["task.dead_lettered"], "namespace": "shapes", "template": "diamond", "secret": "`+secret+`"}`), http.StatusCreated)
	if !strings.HasPrefix(made.Secret, "whsec_") || given.Secret != secret || *given.Template != "diamond" || strings.Join(made.Events, " ") != "task.completed task.failed" {
		t.Errorf("made %+v and %+v", made, given)
	}
	listed := s.ask("GET", "/v1/webhooks", "")
	all := read[struct {
		Webhooks []web.Webhook `json:"webhooks"`
	}](s, listed, http.StatusOK).Webhooks
	if len(all) != 2 || all[0].ID != made.ID || all[1].ID != given.ID || strings.Contains(listed.body, "secret") || strings.Contains(listed.body, "whsec_") {
		t.Errorf("listed %s", listed.body)
	}

	s.create()
	s.exec(`update tasker.tasks set state = 'complete', finished_at = now()`)
	path := "/v1/webhooks/" + made.ID.String()
	deliveries := read[struct {
		Deliveries []web.Delivery `json:"deliveries"`
	}](s, s.ask("GET", path+"/deliveries", ""), http.StatusOK).Deliveries
	if len(deliveries) != 1 || deliveries[0].Event != "task.completed" || deliveries[0].State != "pending" || deliveries[0].NextAt == nil {
		t.Errorf("deliveries %+v", deliveries)
	}
	if got := s.ask("GET", path+"/deliveries?state=dead", ""); got.status != http.StatusOK || strings.Contains(got.body, "task.completed") {
		t.Errorf("dead deliveries: %d, %s", got.status, got.body)
	}
	again := path + "/deliveries/" + deliveries[0].ID.String() + "/redeliver"
	s.refused(s.ask("POST", again, ""), http.StatusConflict, "pending already")
	s.exec(`update tasker.webhook_deliveries set state = 'dead', attempts = 7, claim = 7, finished_at = now(), status = 500`)
	sent := read[web.Delivery](s, s.ask("POST", again, ""), http.StatusAccepted)
	if sent.State != "pending" || sent.Attempts != 0 || sent.NextAt == nil || sent.FinishedAt != nil || *sent.Status != 500 {
		t.Errorf("redelivered %+v", sent)
	}
	s.refused(s.ask("POST", path+"/deliveries/"+uuid.NewString()+"/redeliver", ""), http.StatusNotFound, "not found")
	if got := s.ask("DELETE", path, ""); got.status != http.StatusNoContent {
		t.Errorf("removed: %d, %s", got.status, got.body)
	}
	for _, gone := range []answer{s.ask("DELETE", path, ""), s.ask("GET", path+"/deliveries", ""), s.ask("DELETE", "/v1/webhooks/"+uuid.NewString(), "")} {
		if gone.status != http.StatusNotFound || !strings.Contains(gone.body, "NOT_FOUND") {
			t.Errorf("gone: %d, %s", gone.status, gone.body)
		}
	}
}

func TestWebhookRefusals(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for body, want := range map[string][]string{
		`{"events": ["task.failed"]}`:                                                        {"url"},
		`{"url": "https://example.com", "events": []}`:                                       {"body.events"},
		`{"url": "https://example.com", "events": ["task.failed", "task.failed"]}`:           {"body.events"},
		`{"url": "https://example.com", "events": ["task.started"]}`:                         {"body.events[0]"},
		`{"url": "http://10.0.0.1/", "events": ["task.failed"]}`:                             {"not public", "allow_private_addresses"},
		`{"url": "https://example.com", "events": ["task.failed"], "secret": "hunter2"}`:     {"the secret must be whsec_"},
		`{"url": "gopher://example.com", "events": ["task.failed"], "secret": "whsec_aGk="}`: {"has 2 problems", "the url must look like", "the secret must be"},
	} {
		got := s.ask("POST", "/v1/webhooks", body)
		for _, text := range append(want, "BAD_REQUEST") {
			if got.status != http.StatusBadRequest || !strings.Contains(got.body, text) || strings.Contains(got.body, "hunter2") {
				t.Errorf("%s: %d, %s; want %q", body, got.status, got.body, text)
			}
		}
	}
	private := startServer(t, "[orchestration.webhooks]\nallow_private_addresses = true\n")
	if got := private.ask("POST", "/v1/webhooks", `{"url": "http://10.0.0.1/", "events": ["task.failed"]}`); got.status != http.StatusCreated {
		t.Errorf("private addresses allowed: %d, %s", got.status, got.body)
	}
}
