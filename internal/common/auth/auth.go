// Package auth knows callers by what they show, a token or an API key, and says
// what they may do. It serves both servers; what a request is answered with, the
// servers know.
//
// Start reading at [Authenticator.Admit].
package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// A Caller is who sent a request.
type Caller struct {
	// Subject names the caller: the sub of a token, or api_key: and the description
	// of an API key. It may be logged and kept.
	Subject string
	Kind    config.AuthType // what was shown
	Granted []permission.Permission
	// Unknown are permissions and roles of a token that there are not. They count
	// for nothing.
	Unknown []string
}

type callerKey struct{}

// WithCaller returns a context of a request by c.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who sent the request of ctx, nil when nobody was asked or had
// to show anything.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// Actor returns who is to be held to account for what a request does: its
// caller, and where that is not known, who it says it is for.
func Actor(ctx context.Context, stated string) string {
	if c := CallerOf(ctx); c != nil {
		return c.Subject
	}
	return stated
}

// An Authenticator holds the keys and rules of one configuration. It may be used
// concurrently.
type Authenticator struct {
	header string // of API keys
	tokens *tokens
	keys   []apiKey
	rules  rules
}

// New returns an authenticator. It reads the files of API keys, and fetches
// nothing. Keys that the one before has fetched are kept, where they come from
// the same place; before may be nil. Log is told when keys cannot be fetched.
func New(cfg *config.Auth, before *Authenticator, log *slog.Logger) (*Authenticator, error) {
	roles := map[string][]permission.Permission{}
	for _, r := range cfg.Roles {
		roles[r.Name] = permissions(r.Permissions)
	}
	keys, err := newAPIKeys(cfg, roles)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{header: cfg.APIKeyHeader, keys: keys, rules: cfg.ProtectedRoutes}
	if a.tokens, err = newTokens(&cfg.Credentials, roles); err != nil {
		return nil, err
	}
	if from := sourceOf(&cfg.Credentials); before != nil && before.tokens.fetched != nil && before.tokens.fetched.source == from {
		a.tokens.fetched = before.tokens.fetched
	} else if from.url != "" {
		a.tokens.fetched = newKeySet(from, log)
	}
	return a, nil
}

func permissions(names []string) []permission.Permission {
	list := make([]permission.Permission, len(names))
	for i, name := range names {
		list[i] = permission.Permission(name)
	}
	return list
}

// Admit says who sent a request to a route that needs a permission. The caller
// is nil where none is asked for. Requests are judged in this order:
//
//   - To a public route that no rule is for anybody may send anything.
//   - Without credentials only those to a public route, or to one whose rule
//     does not require them, are admitted.
//   - Credentials that are shown must be good, and of the kind that a rule
//     requires.
//   - Who shows them must hold the permission of the route.
func (a *Authenticator) Admit(r *http.Request, needs permission.Permission) (*Caller, *Refusal) {
	rule := a.rules.find(r.Method, r.URL.EscapedPath())
	if rule == nil && needs == permission.Public {
		return nil, nil
	}
	kind, secret, reason := a.shown(r.Header)
	switch {
	case reason != "":
		return nil, &Refusal{Reason: reason, Kind: kind, challenges: a.challenges(rule)}
	case kind == "" && rule == nil || kind == "" && rule.Required:
		return nil, &Refusal{Reason: Missing, challenges: a.challenges(rule)}
	case kind == "":
		return nil, nil
	case rule != nil && rule.Required && rule.AuthType != kind:
		return nil, &Refusal{Reason: WrongKind, Kind: kind, challenges: a.challenges(rule)}
	}
	var caller *Caller
	if kind == config.AuthBearer {
		caller, reason = a.tokens.check(r.Context(), secret)
	} else {
		caller, reason = a.findKey(secret)
	}
	if reason != "" {
		return nil, &Refusal{Reason: reason, Kind: kind, challenges: a.challenges(rule)}
	}
	if !permission.Granted(caller.Granted, needs) {
		return caller, &Refusal{Reason: Lacking, Kind: kind, Needs: needs}
	}
	return caller, nil
}

// CheckToken says whose a token is.
func (a *Authenticator) CheckToken(ctx context.Context, token string) (*Caller, error) {
	caller, reason := a.tokens.check(ctx, token)
	if reason != "" {
		return nil, &Refusal{Reason: reason, Kind: config.AuthBearer}
	}
	return caller, nil
}

// maxKey is how long the value of a header with an API key may be.
const maxKey = 512

// shown returns what a request shows, kind empty for nothing. Of two things
// shown neither is taken: which one counts would be a guess.
func (a *Authenticator) shown(h http.Header) (kind config.AuthType, secret string, reason Reason) {
	keys, tokens := h.Values(a.header), h.Values("Authorization")
	if strings.EqualFold(a.header, "Authorization") {
		tokens = nil
	}
	switch {
	case len(keys)+len(tokens) == 0:
		return "", "", ""
	case len(keys)+len(tokens) > 1:
		return "", "", Several
	case len(keys) == 1 && (keys[0] == "" || len(keys[0]) > maxKey):
		return config.AuthAPIKey, "", Malformed
	case len(keys) == 1:
		return config.AuthAPIKey, keys[0], ""
	}
	scheme, token, _ := strings.Cut(tokens[0], " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return config.AuthBearer, "", Malformed
	}
	return config.AuthBearer, token, ""
}

// challenges say what a caller may show, as values of WWW-Authenticate.
func (a *Authenticator) challenges(rule *config.ProtectedRoute) []string {
	var list []string
	wants := func(kind config.AuthType) bool { return rule == nil || !rule.Required || rule.AuthType == kind }
	if wants(config.AuthBearer) && a.tokens.configured() {
		list = append(list, `Bearer realm="tasker"`)
	}
	if wants(config.AuthAPIKey) && len(a.keys) > 0 {
		list = append(list, fmt.Sprintf(`ApiKey realm="tasker", header=%q`, a.header))
	}
	return slices.Clip(list)
}
