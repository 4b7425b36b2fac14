package tomltree

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A file is the text that positions point into.
type file struct {
	name string
	src  string
	mask []string // keys whose values are never shown
}

// A Pos is a stretch of text in a file. The zero Pos is no place.
type Pos struct {
	file       *file
	start, end uint32
}

// IsValid reports whether p is a place.
func (p Pos) IsValid() bool { return p.file != nil }

// File returns the name of the file, "" for no place.
func (p Pos) File() string {
	if p.file == nil {
		return ""
	}
	return p.file.name
}

// Line returns the line, counted from 1.
func (p Pos) Line() int {
	if p.file == nil {
		return 0
	}
	return 1 + strings.Count(p.file.src[:p.start], "\n")
}

// Column returns the column in characters, counted from 1.
func (p Pos) Column() int {
	if p.file == nil {
		return 0
	}
	return 1 + utf8.RuneCountInString(p.file.src[p.lineStart():p.start])
}

// String returns file:line:column, or "" for no place.
func (p Pos) String() string {
	if p.file == nil {
		return ""
	}
	return p.file.name + ":" + strconv.Itoa(p.Line()) + ":" + strconv.Itoa(p.Column())
}

func (p Pos) lineStart() int { return strings.LastIndexByte(p.file.src[:p.start], '\n') + 1 }
