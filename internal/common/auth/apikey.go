package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// apiKey is a key that callers show, as its hash.
type apiKey struct {
	hash    [sha256.Size]byte
	subject string
	granted []permission.Permission
}

const hashPrefix = "sha256:"

// minKey is how long a key in a file must be; what generate-api-key makes is
// longer.
const minKey = 16

func newAPIKeys(cfg *config.Auth, roles map[string][]permission.Permission) ([]apiKey, error) {
	var keys []apiKey
	if cfg.APIKey != "" {
		keys = append(keys, apiKey{hash: sha256.Sum256([]byte(cfg.APIKey)), subject: "api_key", granted: everything()})
	}
	for _, k := range cfg.APIKeys {
		hash, err := hashOf(&k)
		if err != nil {
			return nil, fmt.Errorf("api_keys: the key of %s: %w", k.Description, err)
		}
		if slices.ContainsFunc(keys, func(other apiKey) bool { return other.hash == hash }) {
			return nil, fmt.Errorf("api_keys: the key of %s is that of somebody else too", k.Description)
		}
		granted := permissions(k.Permissions)
		for _, role := range k.Roles {
			granted = append(granted, roles[role]...)
		}
		keys = append(keys, apiKey{hash: hash, subject: "api_key:" + k.Description, granted: granted})
	}
	return keys, nil
}

// everything is what the one key may do that has no list of permissions.
func everything() []permission.Permission {
	var granted []permission.Permission
	for _, p := range permission.All() {
		resource, _, _ := strings.Cut(string(p), ":")
		if all := permission.Permission(resource + ":*"); !slices.Contains(granted, all) {
			granted = append(granted, all)
		}
	}
	return granted
}

func hashOf(k *config.APIKey) (hash [sha256.Size]byte, err error) {
	if k.KeyFile == "" {
		raw, err := hex.DecodeString(strings.TrimPrefix(k.KeyHash, hashPrefix))
		if err != nil || len(raw) != len(hash) {
			return hash, fmt.Errorf("key_hash is not %s and %d digits", hashPrefix, 2*len(hash))
		}
		return [sha256.Size]byte(raw), nil
	}
	content, err := os.ReadFile(k.KeyFile)
	if err != nil {
		return hash, fmt.Errorf("read key_file: %w", err)
	}
	key := strings.TrimSpace(string(content))
	if len(key) < minKey || len(key) > maxKey {
		return hash, fmt.Errorf("key_file holds %d characters, want %d to %d", len(key), minKey, maxKey)
	}
	return sha256.Sum256([]byte(key)), nil
}

// findKey says whose a key is. It takes as long for each key, known or not.
func (a *Authenticator) findKey(key string) (*Caller, Reason) {
	hash := sha256.Sum256([]byte(key))
	found := -1
	for i := range a.keys {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(a.keys[i].hash[:], hash[:]), i, found)
	}
	if found < 0 {
		return nil, UnknownKey
	}
	k := &a.keys[found]
	return &Caller{Subject: k.subject, Kind: config.AuthAPIKey, Granted: k.granted}, ""
}

// GenerateAPIKey makes a key of 256 random bits. The prefix lets scanners for
// secrets know one when they see it.
func GenerateAPIKey() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // it never fails
	return "tasker_" + base64.RawURLEncoding.EncodeToString(raw)
}

// HashAPIKey returns the hash of a key as key_hash takes it. The key must be long
// and random: a hash of one that can be guessed gives it away.
func HashAPIKey(key string) (string, error) {
	if len(key) < minKey || len(key) > maxKey {
		return "", fmt.Errorf("the key has %d characters, want %d to %d", len(key), minKey, maxKey)
	}
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:]), nil
}
