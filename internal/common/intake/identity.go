package intake

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// identitiesOf returns what makes each task the same as another, nil for one
// that is like no other. An idempotency key always decides; without one the
// identity_strategy of the template does.
func identitiesOf(requests []Request, entries []*catalog.Entry) ([][]byte, error) {
	identities := make([][]byte, len(requests))
	var problems []error
	for i := range requests {
		r, t := &requests[i], entries[i].Template
		switch {
		case r.IdempotencyKey != "":
			identities[i] = identity(t, canonicalText(r.IdempotencyKey))
		case t.IdentityStrategy == templates.IdentityAlwaysUnique:
		case t.IdentityStrategy == templates.IdentityCallerProvided:
			task := ""
			if len(requests) > 1 {
				task = fmt.Sprintf("task %d: ", i+1)
			}
			problems = append(problems, fmt.Errorf("%w: %sthe template %s/%s needs an idempotency key (identity_strategy: caller_provided)",
				ErrInvalid, task, t.Namespace, t.Name))
		default:
			canonical, err := canonicalJSON(r.context())
			if err != nil { // the context is valid, or check would have said so
				return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
			}
			identities[i] = identity(t, canonical)
		}
	}
	return identities, errors.Join(problems...)
}

// identity is the SHA-256 of what is the same in two equal tasks: namespace,
// name and version of the template, and a context or a key as canonical JSON,
// which tells the two apart. NUL is part of none of the names.
func identity(t *templates.Template, canonical []byte) []byte {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s\x00", t.Namespace, t.Name, t.Version) // a hash takes all
	_, _ = h.Write(canonical)
	return h.Sum(nil)
}
