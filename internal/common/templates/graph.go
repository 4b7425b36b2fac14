package templates

import (
	"fmt"
	"slices"
)

// A Graph answers questions about the order of a template's steps. Steps are
// meant by their ordinals, their indexes in Template.Steps. A Graph is
// read-only; build it once per template and share it.
type Graph struct {
	// Order lists all steps so that each stands after its dependencies, and
	// after every step that is nearer to the roots.
	Order []int

	// Parents and Dependents hold, for each step, the steps it depends on and
	// the steps that depend on it, each in ascending order.
	Parents, Dependents [][]int

	// Initial lists, in ascending order, the steps that exist as soon as the
	// task does. The rest is created by results; see [Template.Graph].
	Initial []int

	ordinals map[string]int
}

// Ordinal returns the ordinal of the step called name; false if there is none.
func (g *Graph) Ordinal(name string) (int, bool) {
	i, ok := g.ordinals[name]
	return i, ok
}

// Graph builds the graph of a template that Parse or Decode returned. It
// panics on any other that is not well-formed.
//
// A step exists from the start unless a result decides about it: batch workers
// are copied for each batch, and what lies downstream of a decision or of a
// batch worker, convergence steps above all, is created with them.
func (t *Template) Graph() *Graph {
	l := linksOf(t.Steps)
	g := &Graph{l.order(), l.parents, l.dependents, nil, l.ordinals}
	if len(g.Order) < len(t.Steps) || len(l.ordinals) < len(t.Steps) {
		panic(fmt.Sprintf("templates: the steps of %s were not checked", t.Name))
	}
	late := make([]bool, len(t.Steps))
	for _, i := range g.Order {
		late[i] = t.Steps[i].Type == StepBatchWorker
		for _, p := range g.Parents[i] {
			late[i] = late[i] || late[p] || t.Steps[p].Type == StepDecision
		}
	}
	for i := range late {
		if !late[i] {
			g.Initial = append(g.Initial, i)
		}
	}
	return g
}

// links are the edges between steps.
type links struct {
	ordinals            map[string]int // the first step of each name
	parents, dependents [][]int
}

// linksOf resolves the dependencies of steps, leaving out unknown names and
// repetitions.
func linksOf(steps []Step) links {
	l := links{make(map[string]int, len(steps)), make([][]int, len(steps)), make([][]int, len(steps))}
	for i, s := range slices.Backward(steps) {
		l.ordinals[s.Name] = i
	}
	for i, s := range steps {
		for _, name := range s.Dependencies {
			if p, ok := l.ordinals[name]; ok {
				l.parents[i] = append(l.parents[i], p)
			}
		}
		slices.Sort(l.parents[i])
		l.parents[i] = slices.Compact(l.parents[i])
		for _, p := range l.parents[i] {
			l.dependents[p] = append(l.dependents[p], i)
		}
	}
	return l
}

// order sorts the steps topologically (Kahn's algorithm). Steps on a cycle or
// downstream of one are missing from the result.
func (l links) order() []int {
	waiting := make([]int, len(l.parents))
	order := make([]int, 0, len(l.parents))
	for i, parents := range l.parents {
		if waiting[i] = len(parents); waiting[i] == 0 {
			order = append(order, i)
		}
	}
	for next := 0; next < len(order); next++ {
		for _, i := range l.dependents[order[next]] {
			if waiting[i]--; waiting[i] == 0 {
				order = append(order, i)
			}
		}
	}
	return order
}

// cycles finds cycles, each as the steps on it in the order in which they
// depend on each other. No step is on two of them; at least one is found if
// there is any.
func (l links) cycles() [][]int {
	const (
		unseen = iota
		onPath
		done
	)
	var (
		found   [][]int
		path    []int
		state   = make([]int, len(l.parents))
		onCycle = make([]bool, len(l.parents))
		visit   func(i int)
	)
	add := func(cycle []int) {
		if slices.ContainsFunc(cycle, func(i int) bool { return onCycle[i] }) {
			return
		}
		found = append(found, slices.Clone(cycle))
		for _, i := range cycle {
			onCycle[i] = true
		}
	}
	visit = func(i int) {
		state[i] = onPath
		path = append(path, i)
		for _, p := range l.parents[i] {
			switch state[p] {
			case unseen:
				visit(p)
			case onPath:
				add(path[slices.Index(path, p):])
			}
		}
		path = path[:len(path)-1]
		state[i] = done
	}
	for i := range l.parents {
		if state[i] == unseen {
			visit(i)
		}
	}
	return found
}
