package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A WebhookRequest asks for a webhook. Empty fields are left to the server.
type WebhookRequest struct {
	URL       string   `json:"url"`
	Events    []string `json:"events"`
	Namespace string   `json:"namespace,omitempty"`
	Template  string   `json:"template,omitempty"`
	Secret    string   `json:"secret,omitempty"`
}

// A Webhook is a webhook as the server tells it.
type Webhook struct {
	ID        string   `json:"webhook_uuid"`
	URL       string   `json:"url"`
	Events    []string `json:"events"`
	Namespace string   `json:"namespace"` // "" is any
	Template  string   `json:"template"`  // "" is any
	Secret    string   `json:"secret"`    // only of one just created

	Sent
}

// A WebhookList is all webhooks.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`

	Sent
}

// A Delivery is how the delivery of an event stands.
type Delivery struct {
	ID        string    `json:"delivery_uuid"`
	Task      string    `json:"task_uuid"`
	Event     string    `json:"event"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	CreatedAt time.Time `json:"created_at"`
	Status    int       `json:"status"` // of the last answer; 0: there was none
	Error     string    `json:"error"`

	Sent
}

// A DeliveryList is the latest deliveries of a webhook.
type DeliveryList struct {
	Deliveries []Delivery `json:"deliveries"`

	Sent
}

// CreateWebhook adds a webhook. Its secret is never told again.
func (c *Client) CreateWebhook(ctx context.Context, r WebhookRequest) (*Webhook, error) {
	return ask[Webhook](ctx, c, call{method: http.MethodPost, path: "/v1/webhooks", body: r})
}

// ListWebhooks reads all webhooks, oldest first.
func (c *Client) ListWebhooks(ctx context.Context) (*WebhookList, error) {
	return ask[WebhookList](ctx, c, call{path: "/v1/webhooks"})
}

// DeleteWebhook removes a webhook with its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: "/v1/webhooks/" + url.PathEscape(id)}, nil)
	return err
}

// ListDeliveries reads the latest deliveries of a webhook, newest first; an empty
// state stands for all.
func (c *Client) ListDeliveries(ctx context.Context, webhook, state string, limit int) (*DeliveryList, error) {
	query := queryOf("state", state, "limit", strconv.Itoa(limit))
	return ask[DeliveryList](ctx, c, call{path: "/v1/webhooks/" + url.PathEscape(webhook) + "/deliveries", query: query})
}

// Redeliver has a delivery that is over sent once more.
func (c *Client) Redeliver(ctx context.Context, webhook, delivery string) (*Delivery, error) {
	return ask[Delivery](ctx, c, call{
		method: http.MethodPost, path: "/v1/webhooks/" + url.PathEscape(webhook) + "/deliveries/" + url.PathEscape(delivery) + "/redeliver",
	})
}
