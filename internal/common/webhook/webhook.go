// Package webhook is what the API and the sender of webhooks agree on: events,
// URLs, secrets and signatures.
package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The events that webhooks may ask for.
const (
	TaskCompleted        = "task.completed"
	TaskFailed           = "task.failed"
	TaskBlocked          = "task.blocked_by_failures"
	TaskCancelled        = "task.cancelled"
	TaskResolvedManually = "task.resolved_manually"
	TaskDeadLettered     = "task.dead_lettered"
)

// Events lists them.
func Events() []string {
	return []string{TaskCompleted, TaskFailed, TaskBlocked, TaskCancelled, TaskResolvedManually, TaskDeadLettered}
}

// secretPrefix begins a secret in its written form.
const secretPrefix = "whsec_"

// NewSecret returns a new secret.
func NewSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseSecret returns the key that a secret holds: 24 to 64 bytes.
func ParseSecret(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("the secret must be whsec_ and 24 to 64 bytes in base64")
	}
	return key, nil
}

// Sign is the value of the header webhook-signature by version 1 of Standard
// Webhooks: HMAC-SHA256 over id, time and body.
func Sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body) // a hash takes all
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
