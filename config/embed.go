package config

import "embed"

// embedded is the shipped tree: a binary alone runs with it.
//
//go:embed tasker
var embedded embed.FS
