package tomltree

// An Arena lends the memory of trees. The zero Arena is ready for use, by one
// goroutine at a time. Who loads often and keeps no tree can use one again and
// again: half of what a load allocates is trees.
type Arena struct {
	values  pile[Value]
	entries pile[entry]
}

// Reset takes back all memory. No tree that a method of a returned may be used
// any more; problems may, and so may what was decoded.
func (a *Arena) Reset() {
	a.values.reset()
	a.entries.reset()
}

// reserve makes room for so many values and entries at once.
func (a *Arena) reserve(values, entries int) {
	a.values.reserve(values)
	a.entries.reserve(entries)
}

// value returns a zero Value.
func (a *Arena) value() *Value { return &a.values.take(1)[0] }

// copy returns a copy of v.
func (a *Arena) copy(v *Value) *Value {
	out := a.value()
	*out = *v
	return out
}

// room returns an empty list that can take n entries.
func (a *Arena) room(n int) []entry { return a.entries.take(n)[:0] }

// A pile lends pieces of slices.
type pile[T any] struct {
	chunk []T // what is being lent
	used  int // of chunk
	total int // lent since the last reset
}

// smallest is the size of the smallest chunk.
const smallest = 8

func (p *pile[T]) reserve(n int) {
	if len(p.chunk)-p.used < n {
		p.chunk, p.used = make([]T, n), 0
	}
}

// take lends n zero values.
func (p *pile[T]) take(n int) []T {
	if len(p.chunk)-p.used < n {
		p.reserve(max(n, smallest))
	}
	from := p.used
	p.used += n
	p.total += n
	return p.chunk[from:p.used:p.used]
}

// reset takes everything back, and sees that one chunk will do the next time.
func (p *pile[T]) reset() {
	if p.total > len(p.chunk) {
		p.chunk = make([]T, p.total+p.total/8)
	} else {
		clear(p.chunk[:p.used])
	}
	p.used, p.total = 0, 0
}
