package apiclient

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// A TemplateDetail is a version of a template as the server tells it.
type TemplateDetail struct {
	Sent
	Template

	Description  string          `json:"description"`
	Digest       string          `json:"digest"`
	RegisteredAt time.Time       `json:"registered_at"`
	Steps        []TemplateStep  `json:"steps"`
	Definition   json.RawMessage `json:"definition"`
}

// A TemplateStep is what a template says of a step.
type TemplateStep struct {
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Handler      string   `json:"handler"`
	Dependencies []string `json:"dependencies"`
	MaxAttempts  int      `json:"max_attempts"`
}

// A TemplateVersions lists the versions of a template, the highest first.
type TemplateVersions struct {
	Sent

	Versions []struct {
		Version string `json:"version"`
		Current bool   `json:"current"`
	} `json:"versions"`
}

// FindTemplate reads a version of a template, the highest where it is "".
func (c *Client) FindTemplate(ctx context.Context, t Template) (*TemplateDetail, error) {
	path := "/v1/templates/" + url.PathEscape(t.Namespace) + "/" + url.PathEscape(t.Name)
	if t.Version == "" {
		all, err := ask[TemplateVersions](ctx, c, call{path: path})
		if err != nil {
			return nil, err
		}
		for _, v := range all.Versions {
			if v.Current {
				t.Version = v.Version
			}
		}
	}
	return ask[TemplateDetail](ctx, c, call{path: path + "/" + url.PathEscape(t.Version)})
}
