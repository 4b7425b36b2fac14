package web

import (
	"embed"
	"mime"
	"net/http"
	"path"
	"strings"
)

// viewer is a page that shows the description of the API. All of it is served
// from here; the page loads nothing from elsewhere and no other may frame it.
//
//go:embed viewer
var viewer embed.FS

const viewerPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// describe adds the description of the API, and the page that shows it.
func (a *API) describe(document []byte) error {
	described := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document) // the client may have gone
	}
	a.open("/openapi.json", described)
	a.open("/api-docs/openapi.json", described)
	files, err := viewer.ReadDir("viewer")
	if err != nil {
		return err
	}
	for _, f := range files {
		content, err := viewer.ReadFile("viewer/" + f.Name())
		if err != nil {
			return err
		}
		a.open("/api-docs/"+strings.TrimSuffix(f.Name(), ".html"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(f.Name())))
			w.Header().Set("Content-Security-Policy", viewerPolicy)
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(content) // the client may have gone
		})
	}
	return nil
}
