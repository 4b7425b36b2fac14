package web_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/golden"
	"github.com/tasker-systems/tasker-go/orchestration/internal/web"
)

// TestEveryRouteSaysWhoMay goes through the table of routes. What is public is
// listed here once more, so that nothing becomes public by a slip.
func TestEveryRouteSaysWhoMay(t *testing.T) {
	t.Parallel()
	public := []string{"/health", "/health/live", "/health/ready", "/health/detailed", "/metrics", "/openapi.json", "/api-docs/openapi.json", "/api-docs/ui", "/api-docs/ui.js", "/api-docs/ui.css"}
	api := web.API()
	if _, err := api.Handler(); err != nil { // which adds the description of the API
		t.Fatal(err)
	}
	for _, r := range api.Routes() {
		switch open := slices.Contains(public, r.Path); {
		case open != (r.Permission == permission.Public):
			t.Errorf("%s %s: the permission is %q; is it meant to be public?", r.Method, r.Path, r.Permission)
		case !open && (!permission.Known(r.Permission) || strings.HasSuffix(string(r.Permission), "*")):
			t.Errorf("%s %s: %q is no permission; package permission lists them", r.Method, r.Path, r.Permission)
		}
		public = slices.DeleteFunc(public, func(path string) bool { return path == r.Path })
	}
	if len(public) > 0 {
		t.Errorf("there is no public route %v", public)
	}
}

// TestDocumentIsCurrent: the OpenAPI document under docs is that of the routes.
func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	document, err := web.API().OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, "../../../docs/openapi-orchestration.json", string(document))
}
