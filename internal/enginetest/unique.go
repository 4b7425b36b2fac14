package enginetest

import (
	"bytes"
	"io"
	"io/fs"
)

// alwaysUnique returns the templates of fsys with an identity_strategy of
// always_unique in those that name none: tests create the same task again and
// again, and mean another one each time. A test of identity names the strategy.
func alwaysUnique(fsys fs.FS) fs.FS {
	return unique{fsys}
}

type unique struct{ fs.FS }

// Open opens a file, with the strategy in its text.
func (u unique) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	const strategy = "identity_strategy"
	switch trimmed := bytes.TrimSpace(text); {
	case bytes.Contains(text, []byte(strategy)):
	case bytes.HasPrefix(trimmed, []byte("{")):
		text = append([]byte("{"+strategy+": always_unique, "), trimmed[1:]...)
	default:
		text = append(text, []byte("\n"+strategy+": always_unique\n")...)
	}
	return &file{f, bytes.NewReader(text)}, nil
}

// A file reads a text in place of its own.
type file struct {
	fs.File

	text *bytes.Reader
}

func (f *file) Read(p []byte) (int, error) { return f.text.Read(p) }
