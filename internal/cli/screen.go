package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// A screen shows how long work goes: on a terminal in lines that change, in a
// pipe in lines that stay. Its methods may be called concurrently.
type screen struct {
	w      io.Writer
	height func() int // of the terminal, in lines; nil when w is none
	colour bool

	mu    sync.Mutex
	drawn []string // the lines that change, at the bottom
}

// newScreen returns a screen on w, one of the writers of env.
func newScreen(env Env, w io.Writer) *screen {
	s := &screen{w: w}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || env.variable("TERM") == "dumb" {
		return s
	}
	s.colour = env.variable("NO_COLOR") == ""
	s.height = func() int {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil {
			return height
		}
		return 24 // lines of a terminal that does not say
	}
	return s
}

// live reports whether lines can change.
func (s *screen) live() bool { return s.height != nil }

// draw shows lines below all others, in place of those it showed last; without
// any it only removes those. In a pipe it does nothing.
func (s *screen) draw(lines ...string) {
	if !s.live() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := max(s.height()-1, 1); len(lines) > room {
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… and %d lines more", len(lines)-room+1))
	}
	text := s.erase() + render(lines)
	s.drawn = lines
	_, _ = io.WriteString(s.w, text) // nobody is left to be told
}

// printf shows a line that stays.
func (s *screen) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s, format+"\n", args...) // nobody is left to be told
}

// Write shows whole lines that stay, above those that change. It lets a log
// share the screen.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.w, s.erase()+string(p)+render(s.drawn)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// erase returns what removes the lines that change: cursor to the first of
// them, then clear to the end of the screen.
func (s *screen) erase() string {
	if len(s.drawn) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(s.drawn))
}

// render returns lines that are cut off at the right edge: wrapped ones could
// not be counted.
func render(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\x1b[?7l" + strings.Join(lines, "\n") + "\n\x1b[?7h"
}

// A colour is how a terminal shows some text.
type colour string

// The colours, as the parameters of the sequence that sets them.
const (
	plain  colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	cyan   colour = "36"
)

// paint gives text a colour where there are any.
func (s *screen) paint(c colour, text string) string {
	if !s.colour || c == plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
