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
	Chain    []Link  // the layers of the key's value, the one in effect first; may be nil
	Also     []Place // other text that has a part in it
	Effect   string  // what comes of it; may be ""
	Fix      string  // what to do about it; may be ""
	Instead  string  // the dotted key that was meant, where a name is wrong; "" if unknown
	Hidden   bool    // what is wrong has no effect at present
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
func (r *Report) Sort() { slices.SortStableFunc(r.Problems, Problem.Compare) }

// Compare says which of two problems comes first, as [Report.Sort] does.
func (p Problem) Compare(q Problem) int {
	if p.Pos.IsValid() != q.Pos.IsValid() {
		if p.Pos.IsValid() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(p.Pos.File(), q.Pos.File()), cmp.Compare(p.Pos.start, q.Pos.start),
		cmp.Compare(p.Key, q.Key), cmp.Compare(p.Code, q.Code))
}

// Error returns every problem as text, a block each, and their number.
func (r *Report) Error() string {
	var b strings.Builder
	for _, p := range r.Problems {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String() + r.Count()
}

// Count says how many problems there are: "2 errors, 1 warning".
func (r *Report) Count() string {
	warnings := len(r.Warnings().Problems)
	text := count(len(r.Problems)-warnings, "error")
	if warnings > 0 {
		text += ", " + count(warnings, "warning")
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// String returns p as a block of text: what is wrong, where, the line with a
// caret, how the value came about, what comes of it and what to do.
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
	if len(p.Chain) > 1 || len(p.Chain) == 1 && len(p.Chain[0].Uses) > 0 {
		b.WriteString("  = chain: ")
		for i, link := range p.Chain {
			if i > 0 {
				b.WriteString(" ← ")
			}
			b.WriteString(link.String())
		}
		b.WriteByte('\n')
	}
	for _, line := range []struct{ label, text string }{{"effect", p.Effect}, {"fix", p.Fix}} {
		if line.text != "" {
			fmt.Fprintf(&b, "  = %s: %s\n", line.label, line.text)
		}
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
