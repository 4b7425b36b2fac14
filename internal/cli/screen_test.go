package cli

import (
	"os"
	"strings"
	"testing"
)

// TestScreenLive draws on a terminal of five lines.
func TestScreenLive(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := &screen{w: &out, height: func() int { return 5 }}
	const up = "\r\x1b[J"
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"nothing to remove", func() { s.draw() }, ""},
		{"two lines", func() { s.draw("a", "b") }, "\x1b[?7la\nb\n\x1b[?7h"},
		{"a line that stays goes above", func() { s.printf("c") }, "\x1b[2A" + up + "c\n\x1b[?7la\nb\n\x1b[?7h"},
		{"more than fit", func() { s.draw("1", "2", "3", "4", "5", "6") }, "\x1b[2A" + up + "\x1b[?7l1\n2\n3\n… and 3 lines more\n\x1b[?7h"},
		{"removed", func() { s.draw() }, "\x1b[4A" + up},
		{"alone", func() { s.printf("d") }, "d\n"},
	} {
		out.Reset()
		c.do()
		if got := out.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestScreenPipe draws where lines cannot change.
func TestScreenPipe(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newScreen(Env{LookupEnv: func(string) (string, bool) { return "", false }}, f)
	s.draw("a")
	s.printf("%s", s.paint(red, "b"))
	s.draw()
	if got, err := os.ReadFile(f.Name()); err != nil || string(got) != "b\n" {
		t.Errorf("%q (%v)", got, err)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := table{columns: []column{{title: "name"}, {title: "n", right: true}, {title: "state"}}}
	table.add("größer", "1", "error")
	table.add("b", "1,000", "")
	want := "NAME        N  STATE\n" + "größer      1  error\n" + "b       1,000"
	if got := strings.Join(table.lines(&screen{}), "\n"); got != want {
		t.Errorf("plain:\n%s\nwant:\n%s", got, want)
	}
	coloured := strings.Join(table.lines(&screen{colour: true}), "\n")
	if !strings.Contains(coloured, "\x1b[1mNAME\x1b[0m  ") || !strings.Contains(coloured, "\x1b[31merror\x1b[0m") {
		t.Errorf("coloured: %q", coloured)
	}
	for _, sequence := range []string{"\x1b[1m", "\x1b[31m", "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, sequence, "")
	}
	if coloured != want {
		t.Errorf("without its colours:\n%s\nwant:\n%s", coloured, want)
	}
}
