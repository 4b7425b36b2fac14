package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
	"github.com/tasker-systems/tasker-go/internal/common/webhook"
)

// Webhooks is what the API has to know of webhooks.
type Webhooks struct {
	AllowPrivateAddresses bool
	Changed               func() // a webhook has come or gone; nil: nobody wants to know
}

// errWebhook marks a webhook that cannot be.
var errWebhook = errors.New("invalid webhook")

// invalidWebhook marks an error; nil stays nil.
func invalidWebhook(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", errWebhook, err) //nolint:errorlint // one reason, not two
}

func (s *service) webhookRoutes(api *web.API) {
	const group = "webhooks"
	web.Handle(api, web.Route{
		ID: "create-webhook", Permission: permission.WebhooksManage, Method: http.MethodPost, Path: "/v1/webhooks", Group: group, Status: http.StatusCreated,
		Summary: "Add a webhook",
		Detail: "From now on the events are sent to the url, signed as Standard Webhooks (https://www.standardwebhooks.com) say, each at least once. " +
			"The secret is in this answer and in no other.",
		Codes: []web.Code{web.BadRequest},
	}, s.createWebhook)
	web.Handle(api, web.Route{
		ID: "list-webhooks", Permission: permission.WebhooksRead, Method: http.MethodGet, Path: "/v1/webhooks", Group: group, Summary: "List the webhooks, oldest first",
	}, s.listWebhooks)
	web.Handle(api, web.Route{
		ID: "delete-webhook", Permission: permission.WebhooksManage, Method: http.MethodDelete, Path: "/v1/webhooks/{webhook_uuid}", Group: group, Status: http.StatusNoContent,
		Summary: "Remove a webhook and its deliveries, those too that wait to be sent", Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.deleteWebhook)
	web.Handle(api, web.Route{
		ID: "list-deliveries", Permission: permission.WebhooksRead, Method: http.MethodGet, Path: "/v1/webhooks/{webhook_uuid}/deliveries", Group: group,
		Summary: "List the deliveries of a webhook, newest first", Detail: "Those that are over are kept for orchestration.webhooks.retention_days.",
		Codes: []web.Code{web.BadRequest, web.NotFound},
	}, s.listDeliveries)
	web.Handle(api, web.Route{
		ID: "redeliver", Permission: permission.WebhooksManage, Method: http.MethodPost, Path: "/v1/webhooks/{webhook_uuid}/deliveries/{delivery_uuid}/redeliver",
		Group: group, Status: http.StatusAccepted, Summary: "Send a delivery that is over once more, with all of its attempts",
		Detail: "The body is the same and so is the id, by which the receiver tells that it had it. One that is pending is sent anyway, and refused.",
		Codes:  []web.Code{web.BadRequest, web.NotFound, web.Conflict},
	}, s.redeliver)
}

// A WebhookRequest asks for a webhook.
type WebhookRequest struct {
	URL       string   `json:"url" maxLength:"2000" doc:"http or https, without user and password" example:"https://example.com/tasker"`
	Events    []string `json:"events" minItems:"1" maxItems:"6" nullable:"false" enum:"task.completed,task.failed,task.blocked_by_failures,task.cancelled,task.resolved_manually,task.dead_lettered"`
	Namespace string   `json:"namespace,omitempty" doc:"Only of tasks of this namespace"`
	Template  string   `json:"template,omitempty" doc:"Only of tasks of this template, by its name"`
	Secret    string   `json:"secret,omitempty" doc:"whsec_ and 24 to 64 bytes in base64; without it one is made up"`
}

// A Webhook is a webhook as it is read back.
type Webhook struct {
	ID        uuid.UUID `json:"webhook_uuid" format:"uuid"`
	URL       string    `json:"url"`
	Events    []string  `json:"events" nullable:"false"`
	Namespace *string   `json:"namespace,omitempty"`
	Template  *string   `json:"template,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	Secret    string    `json:"secret,omitempty" doc:"Only in the answer to its creation"`
}

func webhookOf(w *postgres.Webhook) Webhook {
	return Webhook{ID: w.ID, URL: w.URL, Events: w.Events, Namespace: w.Namespace, Template: w.Template, CreatedAt: w.CreatedAt}
}

type createWebhookInput struct {
	Body WebhookRequest
}

type createWebhookOutput struct {
	Body Webhook
}

// createWebhook adds a webhook and shows its secret, once.
func (s *service) createWebhook(ctx context.Context, in *createWebhookInput) (*createWebhookOutput, error) {
	// The library compares items before it knows that they are texts, and panics.
	if slices.Sort(in.Body.Events); len(slices.Compact(slices.Clone(in.Body.Events))) < len(in.Body.Events) {
		return nil, &web.Located{Err: fmt.Errorf("%w: an event stands twice", errWebhook), Location: "body.events"}
	}
	asked := in.Body
	if asked.Secret == "" {
		asked.Secret = webhook.NewSecret()
	}
	_, badSecret := webhook.ParseSecret(asked.Secret)
	badURL := webhook.CheckURL(asked.URL)
	if badURL == nil && !s.Webhooks.AllowPrivateAddresses {
		badURL = webhook.CheckPublic(asked.URL)
	}
	if err := errors.Join(invalidWebhook(badURL), invalidWebhook(badSecret)); err != nil {
		return nil, err
	}
	slices.Sort(asked.Events)
	stored, err := postgres.InsertWebhook(ctx, s.DB, postgres.Webhook{
		ID: uuid.Must(uuid.NewV7()), URL: asked.URL, Events: asked.Events, Namespace: given(asked.Namespace), Template: given(asked.Template),
	}, asked.Secret)
	if err != nil {
		return nil, err
	}
	s.webhooksChanged()
	out := &createWebhookOutput{Body: webhookOf(&stored)}
	out.Body.Secret = asked.Secret
	return out, nil
}

// given is nil for what a request leaves out.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (s *service) webhooksChanged() {
	if s.Webhooks.Changed != nil {
		s.Webhooks.Changed()
	}
}

type listWebhooksOutput struct {
	Body struct {
		Webhooks []Webhook `json:"webhooks" nullable:"false"`
	}
}

// listWebhooks answers with all webhooks.
func (s *service) listWebhooks(ctx context.Context, _ *struct{}) (*listWebhooksOutput, error) {
	found, err := postgres.ListWebhooks(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	out := &listWebhooksOutput{}
	out.Body.Webhooks = make([]Webhook, len(found))
	for i := range found {
		out.Body.Webhooks[i] = webhookOf(&found[i])
	}
	return out, nil
}

type webhookInput struct {
	ID uuid.UUID `path:"webhook_uuid" format:"uuid"`
}

// deleteWebhook removes a webhook.
func (s *service) deleteWebhook(ctx context.Context, in *webhookInput) (*struct{}, error) {
	if err := postgres.DeleteWebhook(ctx, s.DB, in.ID); err != nil {
		return nil, err
	}
	s.webhooksChanged()
	return &struct{}{}, nil
}

type listDeliveriesInput struct {
	ID    uuid.UUID `path:"webhook_uuid" format:"uuid"`
	State string    `query:"state" enum:"pending,delivered,dead"`
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"25"`
}

// A Delivery is how the delivery of one event stands.
type Delivery struct {
	ID         uuid.UUID  `json:"delivery_uuid" format:"uuid" doc:"The header webhook-id is msg_ and this"`
	Task       uuid.UUID  `json:"task_uuid" format:"uuid"`
	Event      string     `json:"event"`
	State      string     `json:"state" enum:"pending,delivered,dead" doc:"dead: given up"`
	Attempts   int        `json:"attempts" doc:"That have ended"`
	CreatedAt  time.Time  `json:"created_at"`
	NextAt     *time.Time `json:"next_attempt_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Status     *int       `json:"status,omitempty" doc:"Of the last answer"`
	Error      *string    `json:"error,omitempty" doc:"Why the last attempt failed"`
}

type listDeliveriesOutput struct {
	Body struct {
		Deliveries []Delivery `json:"deliveries" nullable:"false"`
	}
}

// listDeliveries answers with the latest deliveries of a webhook.
func (s *service) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*listDeliveriesOutput, error) {
	found, err := postgres.ListDeliveries(ctx, s.DB, in.ID, in.State, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listDeliveriesOutput{}
	out.Body.Deliveries = make([]Delivery, len(found))
	for i := range found {
		out.Body.Deliveries[i] = deliveryOf(&found[i])
	}
	return out, nil
}

func deliveryOf(d *postgres.StoredDelivery) Delivery {
	out := Delivery{
		ID: d.ID, Task: d.Task, Event: d.Event, State: d.State, Attempts: d.Attempts,
		CreatedAt: d.CreatedAt, FinishedAt: d.FinishedAt, Status: d.Status, Error: d.Error,
	}
	if d.State == postgres.DeliveryPending {
		out.NextAt = &d.DueAt
	}
	return out
}

type redeliverInput struct {
	ID       uuid.UUID `path:"webhook_uuid" format:"uuid"`
	Delivery uuid.UUID `path:"delivery_uuid" format:"uuid"`
}

type deliveryOutput struct {
	Body Delivery
}

// redeliver sends a delivery once more.
func (s *service) redeliver(ctx context.Context, in *redeliverInput) (*deliveryOutput, error) {
	again, err := postgres.Redeliver(ctx, s.DB, in.ID, in.Delivery)
	if err != nil {
		return nil, err
	}
	s.webhooksChanged()
	return &deliveryOutput{Body: deliveryOf(&again)}, nil
}
