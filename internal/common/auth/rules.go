package auth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
)

// rules are the routes with a rule of their own.
type rules []config.ProtectedRoute

// find returns the rule for a request, nil for none. Of several the one with the
// most segments that are no wildcards counts; of those that are alike, one that
// requires credentials. HEAD goes by the rules of GET. The path is compared as
// the router of the standard library does it, a segment at a time.
func (all rules) find(method, escapedPath string) *config.ProtectedRoute {
	if len(all) == 0 {
		return nil
	}
	path := strings.Split(escapedPath, "/")
	for i, segment := range path {
		if plain, err := url.PathUnescape(segment); err == nil {
			path[i] = plain
		}
	}
	var best *config.ProtectedRoute
	most := -1
	for i := range all {
		rule := &all[i]
		if rule.Method != method && (method != http.MethodHead || rule.Method != http.MethodGet) {
			continue
		}
		literal, ok := match(strings.Split(rule.Path, "/"), path)
		if ok && (literal > most || literal == most && rule.Required && !best.Required) {
			best, most = rule, literal
		}
	}
	return best
}

// match compares a path with a pattern, and counts the segments that are no
// wildcards.
func match(pattern, path []string) (literal int, ok bool) {
	if len(pattern) != len(path) {
		return 0, false
	}
	for i, segment := range pattern {
		switch {
		case strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}"):
			if path[i] == "" {
				return 0, false
			}
		case segment == path[i]:
			literal++
		default:
			return 0, false
		}
	}
	return literal, true
}
