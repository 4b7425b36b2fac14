package legacy

import (
	"strconv"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// routesKey is where the protected routes are.
var routesKey = []string{"orchestration", "system", "web", "auth", "protected_routes"}

// ListRoutes turns the protected routes of a converted and merged tree from the
// table of v1, "METHOD /path" = {…}, into an array of tables.
func ListRoutes(tree *tomltree.Value) (*tomltree.Value, []tomltree.Problem) {
	table := tree.Lookup(routesKey...)
	if table == nil || table.Kind() != tomltree.Table {
		return tree, nil
	}
	list, problems := routeList(table)
	return replace(tree, list, routesKey), problems
}

// replace returns a tree with another value at path, which exists.
func replace(tree, v *tomltree.Value, path []string) *tomltree.Value {
	if len(path) > 1 {
		v = replace(tree.Lookup(path[0]), v, path[1:])
	}
	return tree.With(path[0], v)
}

// routeList returns the routes of a table as an array.
func routeList(table *tomltree.Value) (*tomltree.Value, []tomltree.Problem) {
	var problems []tomltree.Problem
	list := table.Emptied()
	for _, name := range table.Keys() {
		rest := table.Lookup(name)
		method, path, ok := strings.Cut(name, " ")
		if !ok || rest.Kind() != tomltree.Table {
			problems = append(problems, tomltree.Problem{
				Code: "bad-route", Key: tomltree.DottedKey(append(routesKey[:4:4], "protected_routes", name)...), Pos: table.KeyPos(name),
				Message: "is no route", Fix: `write "METHOD /path" = { auth_type = "bearer", required = true }`,
			})
			continue
		}
		route := rest.Emptied().With("method", rest.StringAt(method)).With("path", rest.StringAt(strings.TrimSpace(path)))
		for _, key := range rest.Keys() {
			if route.Lookup(key) == nil {
				route, _ = tomltree.Merge(route, rest.Pick(key, key))
			}
		}
		list = list.With(strconv.Itoa(len(list.Keys())), route)
	}
	array, _ := list.Listed("") // numbered without gaps
	return array, problems
}

// isRoutes reports whether a key is the table of protected routes, or in it.
func (r *rewriter) isRoutes(f fate) bool {
	return r.tabled && len(f.targets) > 0 && hasPrefix(f.targets[0], routesKey)
}

// leadsToRoutes reports whether the protected routes are below a path.
func (r *rewriter) leadsToRoutes(path []string) bool {
	f := r.fateOf(path)
	return r.tabled && len(f.targets) > 0 && len(f.targets[0]) < len(routesKey) && hasPrefix(routesKey, f.targets[0])
}

// noteRoutes remembers the comments on routes in a table.
func (r *rewriter) noteRoutes(b *block) {
	if f := r.fateOf(b.path); r.isRoutes(f) && len(f.targets[0]) > len(routesKey) {
		r.noteRoute(f, b.lead, b.head)
	}
	for _, p := range r.pieces(b) {
		if f := r.fateOf(p.path); r.isRoutes(f) && len(f.targets[0]) > len(routesKey) {
			r.noteRoute(f, p.lead, p.line)
		}
	}
}

func (r *rewriter) noteRoute(f fate, lead string, l line) {
	name := f.targets[0][len(routesKey)]
	r.leads[name] += strings.TrimLeft(lead, "\r\n")
	if comment := l.comment(); comment != "" && l.text != "" {
		r.leads[name] += comment + r.out.eol
	}
}

// writeRoutes writes all routes, at the first place where some stood: at is the
// header or key there. Comments on the table as a whole go before the routes,
// those on one route are noted already.
func (r *rewriter) writeRoutes(f fate, at item) {
	lead := r.out.eol
	if len(f.targets[0]) == len(routesKey) {
		lead = at.opened(r.out.eol)
	}
	if r.routes == nil {
		r.pending += strings.TrimPrefix(lead, r.out.eol)
		return
	}
	doc, routes := r.doc(routesKey[0]), r.routes.Elements()
	r.routes = nil
	if r.repeats {
		lead += "# All routes: an array replaces the one of base." + doc.eol
	}
	if last := len(routesKey) - 1; len(routes) == 0 {
		doc.set(routesKey[:last], routesKey[last], item{lead: lead, line: doc.assignment(routesKey[last:], "[]")})
	}
	for _, route := range routes {
		b := &block{path: routesKey, array: true, head: doc.header(routesKey)}
		b.head.text = "[" + strings.TrimSuffix(b.head.text, doc.eol) + "]" + doc.eol
		b.lead = lead + r.leads[route.Lookup("method").Text()+" "+route.Lookup("path").Text()]
		for _, key := range route.Keys() {
			v := route.Lookup(key)
			text := v.Inline()
			if v.Kind() == tomltree.Array { // it may have comments
				text = v.Verbatim()
			}
			b.items = append(b.items, item{key: []string{key}, line: doc.assignment([]string{key}, text), value: v})
		}
		doc.add(b)
		lead = doc.eol
	}
}
