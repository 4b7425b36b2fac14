package config

import (
	"net/url"
	"slices"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

// check applies X11, and looks at what is granted.
func (a *Auth) check(s scope) {
	a.checkKeys(s)
	a.checkGrants(s)
	if !a.Enabled {
		return
	}
	if !a.takesTokens() && a.APIKey == "" && len(a.APIKeys) == 0 {
		s.fail("X11", "enabled jwt_public_key jwks_url api_key api_keys",
			"is true, and there is no jwt_public_key, jwks_url, api_key or api_keys to know callers by")
		return
	}
	for _, r := range a.ProtectedRoutes {
		if r.Required && r.AuthType == AuthBearer && !a.takesTokens() || r.Required && r.AuthType == AuthAPIKey && a.APIKey == "" && len(a.APIKeys) == 0 {
			s.warn("X11", "protected_routes", "asks for %s at %s %s, and there is no key to know one by, so nobody can call it", r.AuthType, r.Method, r.Path)
			return
		}
	}
}

// takesTokens reports whether there is something to check tokens with.
func (a *Auth) takesTokens() bool { return a.JWTPublicKey != "" || a.JWKSURL != "" }

// checkKeys looks whether the keys can be read and belong together. What is no
// PEM at all is reported by its format.
func (a *Auth) checkKeys(s scope) {
	public, err := signingkey.ParsePublic(a.JWTPublicKey)
	if a.JWTPublicKey != "" && isPEM(a.JWTPublicKey) && err != nil {
		s.fail("X11", "jwt_public_key", "is no key for tokens: %v", err)
	}
	if a.JWTPrivateKey == "" || !isPEM(a.JWTPrivateKey) {
		return
	}
	_, own, privateErr := signingkey.ParsePrivate(a.JWTPrivateKey)
	switch {
	case privateErr != nil:
		s.fail("X11", "jwt_private_key", "is no key for tokens: %v", privateErr)
	case a.JWTPublicKey == "":
		s.fail("X11", "jwt_private_key jwt_public_key", "signs tokens that nothing checks: jwt_public_key is empty")
	case err == nil && !slices.ContainsFunc(public, func(k signingkey.Key) bool { return k.ID == own.ID }):
		s.fail("X11", "jwt_private_key jwt_public_key", "is not the other half of any key of jwt_public_key")
	}
}

// checkGrants looks at roles and API keys.
func (a *Auth) checkGrants(s scope) {
	var names []string
	for _, r := range a.Roles {
		if slices.Contains(names, r.Name) {
			s.fail("bad-permission", "roles", "has two roles called %s", r.Name)
		}
		names = append(names, r.Name)
		checkPermissions(s, "roles", r.Permissions)
	}
	for _, k := range a.APIKeys {
		checkPermissions(s, "api_keys", k.Permissions)
		for _, role := range k.Roles {
			if !slices.Contains(names, role) {
				s.fail("bad-permission", "api_keys roles", "names a role %s that roles does not have", role)
			}
		}
		if (k.KeyHash == "") == (k.KeyFile == "") {
			s.fail("X11", "api_keys", "needs one of key_hash and key_file for %s", k.Description)
		}
	}
	if u, err := url.Parse(a.JWKSURL); err == nil && u.Scheme == "http" && s.cfg.Common.Environment == Production {
		s.fail("bad-url", "jwks_url", "is not https, in production: who sits between could change the keys")
	}
}

func checkPermissions(s scope, key string, permissions []string) {
	for _, p := range permissions {
		if !permission.Known(permission.Permission(p)) {
			s.fail("bad-permission", key, "grants %q, which is no permission", p)
		}
	}
}

// checkProduction applies X16.
func (a *Auth) checkProduction(s scope) {
	if !a.Enabled {
		s.warn("X16", "enabled", "leaves the API open to everybody, in production")
		return
	}
	for _, r := range a.ProtectedRoutes {
		if !r.Required && r.Method != "GET" && r.Method != "HEAD" && r.Method != "OPTIONS" {
			s.warn("X16", "protected_routes", "lets anybody call %s %s, in production", r.Method, r.Path)
			return
		}
	}
}

// check applies X27.
func (t *TLS) check(s scope) {
	if t.Enabled && (t.CertPath == "" || t.KeyPath == "") {
		s.fail("X27", "enabled cert_path key_path", "is true, and cert_path or key_path is empty")
	}
}
