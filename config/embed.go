package config

import (
	"embed"
	"io/fs"
)

// embedded is the shipped tree: a binary alone runs with it.
//
//go:embed tasker
var embedded embed.FS

// Shipped returns the built-in tree: base and environments.
func Shipped() fs.FS {
	files, err := fs.Sub(embedded, "tasker")
	if err != nil {
		panic(err) // only a name that is no path can fail
	}
	return files
}
