package tomltree

// Merge lays tree over onto tree base. Tables merge key by key, at any depth;
// anything else is replaced as a whole, arrays included, and the result
// remembers what it replaced. An array may take the place of a table and the
// other way round, since some schemas accept both.
//
// A table and a scalar under one key are a problem that names both places, and
// the base stays.
func Merge(base, over *Value) (*Value, []Problem) { return new(Arena).Merge(base, over) }

// Merge is [Merge] with the memory of a.
func (a *Arena) Merge(base, over *Value) (*Value, []Problem) {
	m := merger{arena: a}
	return m.tables(base, over), m.problems
}

type merger struct {
	arena    *Arena
	path     []string
	problems []Problem
}

func (m *merger) tables(base, over *Value) *Value {
	added := 0
	for i := range over.entries {
		if base.find(over.entries[i].key) == nil {
			added++
		}
	}
	out := m.arena.copy(base)
	out.entries = append(m.arena.room(len(base.entries)+added), base.entries...)
	for _, e := range over.entries {
		below := out.find(e.key)
		if below == nil {
			out.entries = append(out.entries, e)
			continue
		}
		switch {
		case e.value.kind == Table && below.value.kind == Table:
			m.path = append(m.path, e.key)
			below.value = m.tables(below.value, e.value)
			m.path = m.path[:len(m.path)-1]
		case e.value.kind != Table && below.value.kind != Table, e.value.kind == Array, below.value.kind == Array:
			v := m.arena.copy(e.value)
			v.under = below.value
			e.value = v
			*below = e
		default:
			m.clash(below, e)
		}
	}
	return out
}

func (m *merger) clash(below *entry, e entry) {
	m.problems = append(m.problems, Problem{
		Code: "shape-clash", Key: join(dotted(m.path), e.key), Pos: e.pos(),
		Message: "is " + e.value.kind.String() + " here and " + below.value.kind.String() + " in the layer below",
		Also:    []Place{{Pos: below.pos(), Note: "the layer below"}},
	})
}
