package config

import "github.com/tasker-systems/tasker-go/config/legacy"

// A Former is a key or table of an earlier layout with what became of it. The
// table of all is in package legacy, which converts by it.
type Former = legacy.Former

// FindFormer returns what became of a dotted key that stands in a file of that
// section, "" meaning any, and where the key itself is now: "" if it was
// removed.
func FindFormer(file, key string) (f Former, now string, found bool) { return legacy.Find(file, key) }

// findRemoved returns the removed key that would be key in the present layout.
func findRemoved(key string) (Former, bool) { return legacy.FindRemoved(key) }
