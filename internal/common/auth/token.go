package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

// Bounds on what a token may say, in bytes.
const (
	maxToken   = 8 << 10
	maxSubject = 200 // as long as an actor may be
	maxKeyID   = 200
)

// tokens checks tokens.
type tokens struct {
	fixed    []signingkey.Key // of jwt_public_key
	fetched  *keySet          // of jwks_url; nil without one
	parser   *jwt.Parser
	roles    map[string][]permission.Permission
	claims   struct{ permissions, roles string } // their names
	isStrict bool
}

func newTokens(cfg *config.Credentials, roles map[string][]permission.Permission) (*tokens, error) {
	t := &tokens{roles: roles, isStrict: cfg.StrictValidation}
	t.claims.permissions, t.claims.roles = cfg.PermissionsClaim, cfg.RolesClaim
	if cfg.JWTPublicKey != "" {
		var err error
		if t.fixed, err = signingkey.ParsePublic(cfg.JWTPublicKey); err != nil {
			return nil, fmt.Errorf("read jwt_public_key: %w", err)
		}
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{signingkey.RS256, signingkey.EdDSA}), jwt.WithIssuer(cfg.JWTIssuer), jwt.WithAudience(cfg.JWTAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.JWTClockSkew.Duration()), jwt.WithStrictDecoding(),
	)
	return t, nil
}

// configured reports whether there is anything to check tokens with.
func (t *tokens) configured() bool { return len(t.fixed) > 0 || t.fetched != nil }

// check says whose a token is. Of the header only alg and kid count, and they
// only choose among the keys of the configuration.
func (t *tokens) check(ctx context.Context, raw string) (*Caller, Reason) {
	if !t.configured() {
		return nil, NoTokens
	}
	if len(raw) > maxToken || !wellFormed(raw) {
		return nil, Malformed
	}
	var reason Reason
	token, err := t.parser.Parse(raw, func(token *jwt.Token) (any, error) {
		var keys jwt.VerificationKeySet
		keys.Keys, reason = t.candidates(ctx, token.Header)
		if reason != "" {
			return nil, errNoKey
		}
		return keys, nil
	})
	if reason != "" {
		return nil, reason
	}
	if err != nil {
		return nil, reasonOf(err)
	}
	claims, ok := token.Claims.(jwt.MapClaims)
	if !ok {
		return nil, BadClaims
	}
	return t.caller(claims)
}

var errNoKey = errors.New("no key")

// candidates are the keys that may have signed a token. A fixed key has no name
// that its issuer knows, so kid does not keep it from being tried.
func (t *tokens) candidates(ctx context.Context, header map[string]any) ([]jwt.VerificationKey, Reason) {
	if _, critical := header["crit"]; critical {
		return nil, Malformed // RFC 7515: refuse what is not understood
	}
	id, isText := header["kid"].(string)
	if _, given := header["kid"]; given && (!isText || len(id) > maxKeyID) {
		return nil, Malformed
	}
	keys := t.fixed
	if t.fetched != nil {
		fetched, err := t.fetched.find(ctx, id)
		if err != nil && len(t.fixed) == 0 {
			return nil, NoKeys
		}
		keys = append(fetched, keys...)
	}
	var fit []jwt.VerificationKey
	for _, k := range keys {
		if k.Algorithm == header["alg"] {
			fit = append(fit, k.Public)
		}
	}
	if len(fit) == 0 {
		return nil, BadSignature
	}
	return fit, ""
}

// reasonOf tells why the library refuses a token.
func reasonOf(err error) Reason {
	for _, known := range []struct {
		err    error
		reason Reason
	}{
		{jwt.ErrTokenMalformed, Malformed},
		{jwt.ErrTokenSignatureInvalid, BadSignature},
		{jwt.ErrTokenUnverifiable, BadSignature},
		{jwt.ErrTokenExpired, Expired},
		{jwt.ErrTokenNotValidYet, NotYetValid},
		{jwt.ErrTokenUsedBeforeIssued, NotYetValid},
		{jwt.ErrTokenInvalidIssuer, WrongIssuer},
		{jwt.ErrTokenInvalidAudience, WrongAudience},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return BadClaims
}

// caller reads who the token is for and what it grants.
func (t *tokens) caller(claims jwt.MapClaims) (*Caller, Reason) {
	subject, err := claims.GetSubject()
	if err != nil || subject == "" || len(subject) > maxSubject || strings.ContainsFunc(subject, unprintable) {
		return nil, BadClaims
	}
	granted, ok := words(claims[t.claims.permissions])
	roles, rolesOK := words(claims[t.claims.roles])
	if !ok || !rolesOK {
		return nil, BadClaims
	}
	c := &Caller{Subject: subject, Kind: config.AuthBearer}
	for _, p := range permissions(granted) {
		if permission.Known(p) {
			c.Granted = append(c.Granted, p)
		} else {
			c.Unknown = append(c.Unknown, string(p))
		}
	}
	for _, name := range roles {
		role, known := t.roles[name]
		if !known {
			c.Unknown = append(c.Unknown, name)
		}
		c.Granted = append(c.Granted, role...)
	}
	if t.isStrict && len(c.Unknown) > 0 {
		return nil, UnknownPermission
	}
	return c, ""
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// words reads a claim that is a list of strings, or one with spaces between.
func words(claim any) (list []string, ok bool) {
	switch claim := claim.(type) {
	case nil:
		return nil, true
	case string:
		return strings.Fields(claim), true
	case []any:
		for _, item := range claim {
			word, isText := item.(string)
			if !isText {
				return nil, false
			}
			list = append(list, word)
		}
		return list, true
	}
	return nil, false
}

// wellFormed looks at what the library does not: that neither the header nor the
// claims name anything twice. Who checks a token and who made it could
// otherwise read different things.
func wellFormed(raw string) bool {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return false
	}
	for _, part := range parts[:2] {
		data, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || !namesOnce(data) {
			return false
		}
	}
	return true
}

// namesOnce reports whether data is one JSON object in which, at any depth, no
// key is there twice.
func namesOnce(data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []map[string]bool // the keys of each object around; nil is a list
	isKey := false
	for first := true; first || len(open) > 0; first = false {
		token, err := dec.Token()
		if err != nil || first && token != json.Delim('{') {
			return false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if name, ok := token.(string); ok && isKey {
				if open[len(open)-1][name] {
					return false
				}
				open[len(open)-1][name] = true
				isKey = false
				continue
			}
		}
		isKey = len(open) > 0 && open[len(open)-1] != nil
	}
	_, err := dec.Token()
	return errors.Is(err, io.EOF)
}

// A Grant is what a token is to say.
type Grant struct {
	Subject     string
	Permissions []string
	Roles       []string
	Expiry      time.Duration
}

// Issue makes a token, signed with jwt_private_key. It grants nothing that the
// servers would refuse.
func Issue(cfg *config.Credentials, g Grant) (string, error) {
	signer, key, err := signingkey.ParsePrivate(cfg.JWTPrivateKey)
	if err != nil {
		return "", fmt.Errorf("read jwt_private_key: %w", err)
	}
	if g.Subject == "" || len(g.Subject) > maxSubject || strings.ContainsFunc(g.Subject, unprintable) {
		return "", fmt.Errorf("the subject must have 1 to %d characters, all of them printable", maxSubject)
	}
	for _, p := range g.Permissions {
		if !permission.Known(permission.Permission(p)) {
			return "", fmt.Errorf("%q is no permission", p)
		}
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": cfg.JWTIssuer, "aud": cfg.JWTAudience, "sub": g.Subject, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(g.Expiry).Unix(),
		cfg.PermissionsClaim: append([]string{}, g.Permissions...),
	}
	if len(g.Roles) > 0 {
		claims[cfg.RolesClaim] = g.Roles
	}
	return sign(signer, key, claims)
}

func sign(signer crypto.Signer, key signingkey.Key, claims jwt.MapClaims) (string, error) {
	token := jwt.NewWithClaims(jwt.GetSigningMethod(key.Algorithm), claims)
	token.Header["kid"] = key.ID
	signed, err := token.SignedString(signer)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return signed, nil
}
