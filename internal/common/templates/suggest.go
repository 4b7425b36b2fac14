package templates

import (
	"fmt"
	"strings"
)

// didYouMean returns "; did you mean …?" with the known word nearest to word,
// or nothing when none is near.
func didYouMean(word string, known []string) string {
	if len(word) < 3 || len(word) > 64 {
		return "" // everything is near, or it is no typo
	}
	best, limit := "", min(3, (len(word)+1)/2)
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if strings.HasPrefix(k, word) {
			d = 1 // an abbreviation
		}
		if d <= limit {
			best, limit = k, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the bytes to insert, delete or replace to turn a into b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
