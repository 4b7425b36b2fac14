package apiclient

import (
	"context"
	"encoding/json"
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

	JSON json.RawMessage `json:"-"` // as the server sent it; empty in a list
}

// A LimitPage is a part of the list of all limits.
type LimitPage struct {
	Limits []Limit `json:"limits"`
	Next   string  `json:"next"` // for the next page; "" on the last one

	JSON json.RawMessage `json:"-"` // as the server sent it
}

// ListLimits reads a page of limits, from the one that follows after.
func (c *Client) ListLimits(ctx context.Context, after string) (*LimitPage, error) {
	query := url.Values{}
	if after != "" {
		query.Set("after", after)
	}
	var page LimitPage
	raw, err := c.call(ctx, call{path: "/v1/limits", query: query}, &page)
	if err != nil {
		return nil, err
	}
	page.JSON = raw
	return &page, nil
}

// SetLimit sets the limit of the name and returns how it stands.
func (c *Client) SetLimit(ctx context.Context, name string, n LimitNumbers) (*Limit, error) {
	var l Limit
	raw, err := c.call(ctx, call{method: http.MethodPut, path: "/v1/limits/" + url.PathEscape(name), body: n}, &l)
	if err != nil {
		return nil, err
	}
	l.JSON = raw
	return &l, nil
}

// RemoveLimit takes away the limit that an operator has set.
func (c *Client) RemoveLimit(ctx context.Context, name string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: "/v1/limits/" + url.PathEscape(name)}, nil)
	return err
}
