package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/rs/cors"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// Access says who may call an API, and how.
type Access struct {
	Auth config.Auth
	CORS config.CORS
	TLS  config.TLS
}

// accessRules are what an [Access] comes to.
type accessRules struct {
	of      *config.Config // where it comes from
	auth    *auth.Authenticator
	cors    *cors.Cors // nil: no headers are sent
	tls     config.TLS
	enabled bool // whether auth counts
}

// newRules makes the rules of a configuration. What those of before have fetched
// is kept.
func (a *API) newRules(of *config.Config, before *accessRules) (*accessRules, error) {
	g := &accessRules{of: of}
	if a.settings.Access == nil {
		return g, nil
	}
	access := a.settings.Access(of)
	g.tls = access.TLS
	if g.enabled = access.Auth.Enabled; g.enabled {
		var last *auth.Authenticator
		if before != nil {
			last = before.auth
		}
		var err error
		if g.auth, err = auth.New(&access.Auth, last, a.settings.Log); err != nil {
			return nil, fmt.Errorf("%s.auth: %w", a.settings.Section, err)
		}
	}
	if access.CORS.Enabled {
		g.cors = newCORS(access.CORS)
	}
	return g, nil
}

// inForce returns the rules of the configuration in effect. Rules that cannot be
// made, since a file is gone, leaves those of before in force.
func (a *API) inForce(ctx context.Context) *accessRules {
	now := a.rules.Load()
	if a.settings.Config == nil || now.of == a.settings.Config.Current() {
		return now
	}
	a.reload.Lock()
	defer a.reload.Unlock()
	now = a.rules.Load()
	current := a.settings.Config.Current()
	if now.of == current {
		return now
	}
	made, err := a.newRules(current, now)
	if err != nil {
		a.settings.Log.ErrorContext(ctx, "rules of access not reloaded; those of before stay in force", "error", err)
		kept := *now
		kept.of, made = current, &kept
	}
	a.rules.Store(made)
	return made
}

// corsAge is how long a browser may keep the answer to a preflight, in seconds.
const corsAge = 600

// newCORS answers browsers as the lists say. Credentials that a browser adds by
// itself, such as cookies, are never allowed, so "*" lets no page act for a user.
func newCORS(c config.CORS) *cors.Cors {
	methods := c.AllowedMethods
	if slices.Contains(methods, "*") {
		methods = []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		}
	}
	return cors.New(cors.Options{
		AllowedOrigins: c.AllowedOrigins, AllowedMethods: methods, AllowedHeaders: c.AllowedHeaders, MaxAge: corsAge,
		ExposedHeaders: []string{requestIDHeader, "Location", "Retry-After", "WWW-Authenticate"},
	})
}

// enter passes a request on that may come in.
func (a *API) enter(w http.ResponseWriter, r *http.Request) {
	g := a.inForce(r.Context())
	protect(w.Header(), &g.tls)
	if g.cors != nil {
		g.cors.HandlerFunc(w, r)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			return // it was a preflight, which is answered
		}
	}
	a.route(w, r)
}

// known reports whether a request may go on to a route, with its caller in the
// context. Where it may not, it is answered.
func (a *API) known(w http.ResponseWriter, r *http.Request, pattern string) (*http.Request, bool) {
	g := a.inForce(r.Context())
	if !g.enabled {
		return r, true
	}
	caller, refusal := g.auth.Admit(r, a.needs[pattern])
	a.audit(r, pattern, caller, refusal)
	switch {
	case refusal != nil:
		refuse(w, r, refusal)
		return r, false
	case caller != nil:
		return r.WithContext(auth.WithCaller(r.Context(), caller)), true
	}
	return r, true
}

// protect sets headers that keep browsers from making more of an answer than
// there is in it. Pages that need more set their own.
func protect(h http.Header, t *config.TLS) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if t.Enabled {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// refuse answers a request that is not admitted.
func refuse(w http.ResponseWriter, r *http.Request, refusal *auth.Refusal) {
	code := AuthenticationFailed
	switch {
	case refusal.Reason == auth.Missing:
		code = Unauthorized
	case refusal.Status() == http.StatusForbidden:
		code = Forbidden
	case refusal.Status() == http.StatusServiceUnavailable:
		code = Unavailable
	}
	for _, challenge := range refusal.Challenges() {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	newProblem(code, refusal.Error(), requestID(r.Context())).write(w)
}

// audit counts who asked and logs who was refused. The log has no credential.
func (a *API) audit(r *http.Request, pattern string, caller *auth.Caller, refusal *auth.Refusal) {
	ctx, needs := r.Context(), a.needs[pattern]
	if needs == permission.Public && caller == nil && refusal == nil {
		return
	}
	server, _, _ := strings.Cut(a.settings.Section, ".")
	kind, subject, outcome := "none", "", "admitted"
	switch {
	case caller != nil:
		kind, subject = string(caller.Kind), caller.Subject
	case refusal != nil && refusal.Kind != "":
		kind = string(refusal.Kind)
	}
	if refusal != nil {
		outcome = "refused"
		a.settings.Log.WarnContext(ctx, "request refused", "request_id", requestID(ctx), "route", pattern, "reason", string(refusal.Reason),
			"credential", kind, "caller", subject, "needs", string(needs), "from", r.RemoteAddr)
		if refusal.Reason == auth.Lacking {
			a.denials.Add(ctx, 1, server, string(needs))
		} else {
			a.failures.Add(ctx, 1, server, kind, string(refusal.Reason))
		}
	}
	a.asked.Add(ctx, 1, server, kind, outcome)
	if caller != nil && len(caller.Unknown) > 0 {
		a.settings.Log.DebugContext(ctx, "a token grants what there is not", "request_id", requestID(ctx), "caller", subject, "unknown", caller.Unknown)
	}
}

// The names of the security schemes in the OpenAPI document.
const bearerScheme, keyScheme = "token", "api_key"

// describeAccess says in the OpenAPI document what callers show.
func describeAccess(cfg *huma.Config, keyHeader string) {
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerScheme: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token, where the server is configured to ask who calls."},
		keyScheme:    {Type: "apiKey", In: "header", Name: keyHeader, Description: "An API key, likewise. The name of the header may be configured."},
	}
}

// secure says of an operation what its callers show and must hold.
func secure(op *huma.Operation, needs permission.Permission) {
	if needs == permission.Public {
		return
	}
	op.Security = []map[string][]string{{bearerScheme: {}}, {keyScheme: {}}}
	op.Extensions = map[string]any{"x-permission": string(needs)}
}
