// Package liveness proves that no setting is decoration. Every leaf of the
// configuration has a behaviour test, which runs with two values and observes a
// difference outside package config; it says so by calling [Covers].
//
// A test of this package, the gate, compares these calls with the leaves of the
// tree and with the code: a leaf that a test covers must also be read by code
// that a program of cmd/ reaches. What is not yet live stands in
// not_yet_live.txt, which is exactly the complement and may only shrink.
package liveness

import (
	_ "embed" // of the list
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
)

// T is what [Covers] needs of a testing.TB: programs import this package for the
// list, and package testing is none of theirs.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Covers marks the calling test as the behaviour test of settings: it fails if
// one of them is ignored. Keys are dotted string literals, with * for a name of
// one's own, since the gate finds them by reading the source. A key that the
// tree does not have fails the test.
func Covers(t T, keys ...string) {
	t.Helper()
	leaves := Leaves()
	for _, key := range keys {
		if !slices.Contains(leaves, key) {
			t.Errorf("the configuration has no setting %s", key)
		}
	}
}

// Leaves returns the keys of all settings, in the order of the reference.
func Leaves() []string {
	fields := config.Fields()
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.Key
	}
	return keys
}

//go:embed not_yet_live.txt
var notYet string

// NotYet returns the keys of the settings that are not yet proven live, sorted.
func NotYet() []string { return strings.Fields(notYet) }
