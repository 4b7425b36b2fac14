package auth

import (
	"net/http"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// A Reason is why a request was refused. Metrics count them by name.
type Reason string

// The reasons.
const (
	Missing           Reason = "missing"
	Malformed         Reason = "malformed"
	Several           Reason = "several_credentials"
	WrongKind         Reason = "wrong_kind"
	UnknownKey        Reason = "unknown_key"
	NoTokens          Reason = "no_tokens"
	BadSignature      Reason = "bad_signature"
	Expired           Reason = "expired"
	NotYetValid       Reason = "not_yet_valid"
	WrongIssuer       Reason = "wrong_issuer"
	WrongAudience     Reason = "wrong_audience"
	BadClaims         Reason = "bad_claims"
	UnknownPermission Reason = "unknown_permission"
	NoKeys            Reason = "keys_unavailable"
	Lacking           Reason = "permission"
)

// texts are the reasons for people. They must not tell one secret from another.
var texts = map[Reason]string{
	Missing:           "the route asks for credentials, and the request has none",
	Malformed:         "the credentials are not well formed",
	Several:           "the request has more than one credential; send one",
	WrongKind:         "the route asks for another kind of credential",
	UnknownKey:        "the API key is not known",
	NoTokens:          "the server takes no tokens",
	BadSignature:      "the token is not signed with a key that the server trusts",
	Expired:           "the token has expired",
	NotYetValid:       "the token is not valid yet",
	WrongIssuer:       "the token is of another issuer",
	WrongAudience:     "the token is for another audience",
	BadClaims:         "the token lacks a claim, or has one of the wrong kind",
	UnknownPermission: "the token has a permission or role that there is not",
	NoKeys:            "the keys that check tokens cannot be fetched; try again",
	Lacking:           "the caller may not do this",
}

// A Refusal says why a request is not admitted. It holds no secret.
type Refusal struct {
	Reason Reason
	Kind   config.AuthType       // of what was shown, empty for nothing
	Needs  permission.Permission // with [Lacking]

	challenges []string
}

// Error says why, to the caller.
func (r *Refusal) Error() string {
	if r.Reason == Lacking {
		return texts[r.Reason] + ": it needs the permission " + string(r.Needs)
	}
	return texts[r.Reason]
}

// Status is what it is answered with.
func (r *Refusal) Status() int {
	switch r.Reason {
	case Lacking:
		return http.StatusForbidden
	case NoKeys:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnauthorized
	}
}

// Challenges are the values of WWW-Authenticate (RFC 9110, RFC 6750).
func (r *Refusal) Challenges() []string {
	switch {
	case r.Reason == Lacking && r.Kind == config.AuthBearer:
		return []string{`Bearer realm="tasker", error="insufficient_scope", scope="` + string(r.Needs) + `"`}
	case r.Status() != http.StatusUnauthorized:
		return nil
	case len(r.challenges) == 0:
		return []string{`Bearer realm="tasker"`} // a 401 must have one
	case r.Kind == config.AuthBearer && r.challenges[0] == `Bearer realm="tasker"`:
		return append([]string{`Bearer realm="tasker", error="invalid_token"`}, r.challenges[1:]...)
	}
	return r.challenges
}
