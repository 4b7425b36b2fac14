package config

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Hash returns a short hash of all values in effect but the secrets and the users
// and passwords of URLs, so that it may be logged. Equal configurations have
// equal hashes, wherever their values come from.
func (l *Loaded) Hash() string {
	redacted, _ := Redact(l.Effective())
	data, err := redacted.MarshalJSON()
	if err != nil {
		panic("config: a tree does not encode: " + err.Error()) // all its texts are UTF-8
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// rounds makes each guess at a secret behind a fingerprint cost what OWASP asks
// for PBKDF2 with SHA-256: a tenth of a second.
const rounds = 600_000

// Fingerprint returns a hash of the key with its value, by which two processes
// can be compared without showing it. It is the same in all of them. One of a
// secret, or of a URL with a password, is slow to make, so that trying out
// passwords is slow too.
func (s Setting) Fingerprint() (string, error) {
	data, err := s.Value.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", s.Key, err)
	}
	if !s.isHidden() {
		sum := sha256.Sum256(bytes.Join([][]byte{[]byte(s.Key), data}, []byte{0}))
		return "sha256:" + hex.EncodeToString(sum[:8]), nil
	}
	key, err := pbkdf2.Key(sha256.New, string(data), []byte("tasker configuration "+s.Key), rounds, 16)
	if err != nil {
		return "", fmt.Errorf("hash %s: %w", s.Key, err)
	}
	return "pbkdf2:" + hex.EncodeToString(key), nil
}

// isHidden reports whether the value is a secret or has one in it.
func (s Setting) isHidden() bool {
	if s.Entry.Secret {
		return s.Value.Text() != ""
	}
	_, hidden := Redact(s.Value)
	return len(hidden) > 0
}
