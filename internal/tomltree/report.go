package tomltree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Severity says whether a problem stops a load.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the tree cannot be used
	Warning                 // it can, and probably not as meant
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// A Problem is one fault of a tree. Its texts never hold the value of a secret
// key or of a variable.
type Problem struct {
	Severity Severity
	Code     string  // stable, for programs: "unknown-key", "X1"
	Key      string  // the dotted key; "" where there is none
	Pos      Pos     // where the fault shows; may be no place
	Message  string  // goes on from the key: "is 5000, want 1 to 1000"
	Hint     string  // what to do about it; may be ""
	Also     []Place // other text that has a part in it
}

// A Place is text that has a part in a problem.
type Place struct {
	Pos  Pos
	Note string
}

// A Report collects problems. The zero Report is empty. It is an error value,
// to be returned where [Report.Err] says so.
type Report struct{ Problems []Problem }

// Add appends problems.
func (r *Report) Add(problems ...Problem) { r.Problems = append(r.Problems, problems...) }

// Err returns r if it holds a problem that is more than a warning, else nil.
func (r *Report) Err() error {
	for i := range r.Problems {
		if r.Problems[i].Severity == Error {
			return r
		}
	}
	return nil
}

// ExitCode is what a program that cannot use the tree exits with: EX_CONFIG of
// sysexits.h.
func (r *Report) ExitCode() int { return 78 }

// Warnings returns the problems of r that are only warnings.
func (r *Report) Warnings() *Report {
	out := &Report{}
	for _, p := range r.Problems {
		if p.Severity == Warning {
			out.Add(p)
		}
	}
	return out
}

// Sort orders the problems by file and position; those without come last.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		if a.Pos.IsValid() != b.Pos.IsValid() {
			if a.Pos.IsValid() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Pos.File(), b.Pos.File()), cmp.Compare(a.Pos.start, b.Pos.start))
	})
}

// Error returns every problem as text, a block each, and a count.
func (r *Report) Error() string {
	var b strings.Builder
	errs := 0
	for _, p := range r.Problems {
		b.WriteString(p.String())
		b.WriteByte('\n')
		if p.Severity == Error {
			errs++
		}
	}
	b.WriteString(count(errs, "error"))
	if warnings := len(r.Problems) - errs; warnings > 0 {
		b.WriteString(", " + count(warnings, "warning"))
	}
	return b.String()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// String returns p as a block of text: what is wrong, where, the line with a
// caret, and what to do.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s[%s]: ", p.Severity, p.Code)
	if p.Key != "" {
		b.WriteString(p.Key + " ")
	}
	b.WriteString(p.Message + "\n")
	if p.Pos.IsValid() {
		fmt.Fprintf(&b, "  --> %s\n", p.Pos)
		p.Pos.writeExcerpt(&b)
	}
	for _, place := range p.Also {
		if place.Pos.IsValid() {
			fmt.Fprintf(&b, "  ::: %s %s\n", place.Pos, place.Note)
		}
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "  = hint: %s\n", p.Hint)
	}
	return b.String()
}

// writeExcerpt prints the line of p with carets under its text, if it has any.
func (p Pos) writeExcerpt(b *strings.Builder) {
	if p.start == p.end {
		return
	}
	begin := p.lineStart()
	line, _, _ := strings.Cut(p.file.src[begin:], "\n")
	line = strings.TrimSuffix(line, "\r")
	shown := p.file.masked(begin, line)
	if shown == "" {
		return
	}
	before := min(int(p.start)-begin, len(shown))
	width := utf8.RuneCountInString(shown[before:min(max(int(p.end)-begin, before), len(shown))])
	number := fmt.Sprint(p.Line())
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, shown[:before])
	margin := strings.Repeat(" ", len(number))
	fmt.Fprintf(b, "%s |\n%s | %s\n%s | %s%s\n", margin, number, shown, margin, indent, strings.Repeat("^", max(width, 1)))
}

// masked returns a line with what must not be shown cut off: the value of a
// masked key, and whole lines within such a value. It goes by the text alone,
// so it also holds in files that do not parse.
func (f *file) masked(begin int, line string) string {
	const stars = "***"
	if f.insideMasked(begin) {
		return stars
	}
	if i := f.maskedValue(line); i >= 0 {
		return line[:i] + stars
	}
	return maskUserinfo(line)
}

// maskedValue returns where in line the value of the first masked key begins,
// or -1.
func (f *file) maskedValue(line string) int {
	found := -1
	for _, key := range f.mask {
		for from := 0; ; {
			i := strings.Index(line[from:], key)
			if i < 0 {
				break
			}
			from += i + len(key)
			rest := strings.TrimLeft(line[from:], " \t\"'")
			if strings.HasPrefix(rest, "=") && (found < 0 || len(line)-len(rest)+1 < found) {
				found = len(line) - len(rest) + 1
				break
			}
		}
	}
	if found >= 0 && found < len(line) && line[found] == ' ' {
		found++
	}
	return found
}

// insideMasked reports whether the offset lies in a multi-line string that a
// masked key begins.
func (f *file) insideMasked(offset int) bool {
	fence := ""
	for line := range strings.Lines(f.src[:offset]) {
		rest := line
		if fence == "" {
			i := f.maskedValue(strings.TrimRight(line, "\r\n"))
			if i < 0 {
				continue
			}
			rest = line[i:]
			j := strings.IndexAny(rest, `"'`)
			if j < 0 || len(rest) < j+3 || rest[j+1] != rest[j] || rest[j+2] != rest[j] {
				continue
			}
			fence = rest[j : j+3]
			rest = rest[j+3:]
		}
		if strings.Contains(rest, fence) {
			fence = ""
		}
	}
	return fence != ""
}

// maskUserinfo hides the user and password of every URL in a line.
func maskUserinfo(line string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(line, "://")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("://")
		end := strings.IndexAny(after, " \t\"'")
		if end < 0 {
			end = len(after)
		}
		if at := strings.LastIndexByte(after[:end], '@'); at >= 0 {
			b.WriteString("***")
			after = after[at:]
		}
		line = after
	}
}
