package tomltree

import (
	"slices"
	"strings"
)

// unknown reports entry e of table t, which plan does not know, and what its
// writer may have meant.
func (d *decoder) unknown(plan *structPlan, t *Value, e *entry) {
	path := dotted(d.path)
	p := Problem{Code: "unknown-key", Key: join(path, e.key), Pos: e.pos(), Message: "is not a known key"}
	names := make([]string, len(plan.fields))
	for i := range plan.fields {
		names[i] = plan.fields[i].key
	}
	if near := Nearest(e.key, names); near != "" {
		p.Instead, p.Fix = join(path, near), "did you mean "+near+"?"
		if meant := t.find(near); meant != nil && meant.value.kind != Table {
			link := d.schema.Chain(p.Instead, meant.value)[0]
			p.Effect = near + " keeps " + link.Text + ", from " + link.Pos.String()
		}
	} else if others := d.schema.elsewhere(path, e); len(others) == 1 {
		p.Instead, p.Fix = others[0], "a key of that name is "+others[0]
	} else if len(others) > 1 {
		p.Fix = "keys of that name are " + strings.Join(others[:min(len(others), 3)], ", ")
	}
	d.problems = append(d.problems, p)
}

// elsewhere returns the keys of the schema that end like entry e, which stands
// at path, and are closest to it: exactly so or, if there are none, nearly so.
func (s *Schema) elsewhere(path string, e *entry) []string {
	var nodes []*Node
	s.root.walk(func(n *Node) {
		if n.Key != "" && (n.Kind == Section || n.Kind == Named) == (e.value.kind == Table) {
			nodes = append(nodes, n)
		}
	})
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Key[strings.LastIndexByte(n.Key, '.')+1:]
	}
	name := e.key
	if !slices.Contains(names, name) {
		if name = Nearest(name, names); name == "" {
			return nil
		}
	}
	var best []string
	most := 0
	for i, n := range nodes {
		if names[i] != name {
			continue
		}
		rank := closeness(path, n.Key)
		if best == nil || rank > most {
			best, most = nil, rank
		}
		if rank == most {
			best = append(best, n.Key)
		}
	}
	return best
}

// closeness says how likely a writer at path meant key: the more they share and
// the less deep key is, the likelier.
func closeness(path, key string) int {
	shared := 0
	for shared < min(len(path), len(key)) && path[shared] == key[shared] {
		shared++
	}
	return 100*shared - strings.Count(key, ".")
}

// walk calls visit for n and all nodes below it.
func (n *Node) walk(visit func(*Node)) {
	visit(n)
	for _, below := range n.Below {
		below.walk(visit)
	}
}

// Nearest returns the word of a list that a writer of word most likely meant,
// or "" if none is near. To leave out the last part of a name, the unit as a
// rule, counts as one letter.
func Nearest(word string, list []string) string {
	best, least := "", max(1, min(3, len(word)/3))+1
	for _, w := range list {
		d := distance(word, w)
		if strings.HasPrefix(w, word+"_") {
			d = 1
		}
		if d < least {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to turn a into b, without regard to case.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if lower(a[i-1]) == lower(b[j-1]) {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && lower(a[i-1]) == lower(b[j-2]) && lower(a[i-2]) == lower(b[j-1]) {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
