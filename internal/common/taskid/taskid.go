// Package taskid makes the ids of tasks and derives those of their steps.
//
// A task's id is a UUIDv7 (RFC 9562) whose last two bytes are zero. A step's id
// is its task's id with the step's ordinal in their place, so a step needs
// neither a column nor an index for its id.
package taskid

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// MaxOrdinal is the highest ordinal: how many steps a task can have.
const MaxOrdinal = 1<<16 - 1

// New returns the id of a new task. Ids made by one process sort by the time
// they were made.
func New() uuid.UUID {
	id := uuid.Must(uuid.NewV7()) // fails only when the system has no randomness
	id[14], id[15] = 0, 0
	return id
}

// Step returns the id of the step with the given ordinal, 1 to [MaxOrdinal].
func Step(task uuid.UUID, ordinal int32) uuid.UUID {
	binary.BigEndian.PutUint16(task[14:], uint16(ordinal)) //nolint:gosec // the caller keeps ordinals in range
	return task
}

// Created is when the id of a task was made, to the millisecond.
func Created(task uuid.UUID) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(task[:8]) >> 16))
}

// Split is the inverse of [Step].
func Split(step uuid.UUID) (task uuid.UUID, ordinal int32) {
	ordinal = int32(binary.BigEndian.Uint16(step[14:]))
	step[14], step[15] = 0, 0
	return step, ordinal
}

// Parse reads a task's id as a user writes it.
func Parse(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("task id %q is not a UUID", s)
	}
	return id, nil
}
