package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

// mostKeys is how many keys of a set are looked at.
const mostKeys = 64

// A jwk is a public key of a JSON Web Key Set (RFC 7517, RFC 8037).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	N          string   `json:"n"`
	E          string   `json:"e"`
}

// parseKeySet reads the keys of a set that may check tokens. Others it passes
// over; a set that has none is an error.
func parseKeySet(data []byte) ([]signingkey.Key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	var keys []signingkey.Key
	for _, k := range set.Keys[:min(len(set.Keys), mostKeys)] {
		if key, err := k.key(); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no RSA or Ed25519 key for signatures")
	}
	return keys, nil
}

func (k *jwk) key() (signingkey.Key, error) {
	var public crypto.PublicKey
	switch {
	case k.Use != "" && k.Use != "sig" || k.Operations != nil && !slices.Contains(k.Operations, "verify"):
		return signingkey.Key{}, signingkey.ErrUnfit
	case k.Type == "RSA":
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		if errN != nil || errE != nil || len(e) > 4 {
			return signingkey.Key{}, signingkey.ErrUnfit
		}
		public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case k.Type == "OKP" && k.Curve == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil {
			return signingkey.Key{}, signingkey.ErrUnfit
		}
		public = ed25519.PublicKey(x)
	}
	key, err := signingkey.New(public)
	if err != nil {
		return signingkey.Key{}, err
	}
	if k.Algorithm != "" && k.Algorithm != key.Algorithm {
		return signingkey.Key{}, signingkey.ErrUnfit
	}
	key.ID = k.ID
	return key, nil
}
