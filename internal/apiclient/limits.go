package apiclient

import (
	"context"
	"net/http"
	"net/url"
)

// LimitNumbers are what a limit allows.
type LimitNumbers struct {
	Concurrency *int    `json:"concurrency,omitempty"` // nil: any number
	Rate        float64 `json:"rate,omitempty"`        // 0: any number
	Per         float64 `json:"per_seconds,omitempty"` // 0: the server's default
	Burst       float64 `json:"burst,omitempty"`       // 0: the server's default
}

// A Limit is a limit as the server tells it.
type Limit struct {
	LimitNumbers

	Name     string        `json:"name"`
	Origin   string        `json:"origin"`   // declared or operator
	Declared *LimitNumbers `json:"declared"` // what the operator's hides; may be nil
	InUse    int           `json:"in_use"`
	Waiting  int           `json:"waiting"`

	Sent
}

// A LimitPage is a part of the list of all limits.
type LimitPage struct {
	Limits []Limit `json:"limits"`
	Next   string  `json:"next"` // for the next page; "" on the last one

	Sent
}

// ListLimits reads a page of limits, from the one that follows after.
func (c *Client) ListLimits(ctx context.Context, after string) (*LimitPage, error) {
	return ask[LimitPage](ctx, c, call{path: "/v1/limits", query: queryOf("after", after)})
}

// SetLimit sets the limit of the name and returns how it stands.
func (c *Client) SetLimit(ctx context.Context, name string, n LimitNumbers) (*Limit, error) {
	return ask[Limit](ctx, c, call{method: http.MethodPut, path: "/v1/limits/" + url.PathEscape(name), body: n})
}

// RemoveLimit takes away the limit that an operator has set.
func (c *Client) RemoveLimit(ctx context.Context, name string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: "/v1/limits/" + url.PathEscape(name)}, nil)
	return err
}
