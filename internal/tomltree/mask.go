package tomltree

import "strings"

// masked returns a line with what must not be shown cut off: the value of a
// masked key, and whole lines within such a value. It goes by the text alone,
// so it also holds in files that do not parse.
func (f *file) masked(begin int, line string) string {
	if f.insideMasked(begin) {
		return hiddenText
	}
	if i := f.maskedValue(line); i >= 0 {
		return line[:i] + hiddenText
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
			b.WriteString(hiddenText)
			after = after[at:]
		}
		line = after
	}
}
