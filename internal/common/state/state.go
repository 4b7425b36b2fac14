// Package state says which state of a task or a step follows which event: two
// tables and their look-ups, no I/O.
//
// The engine moves rows in sets, by statements of package postgres that compare
// state and claim number and then set. The tables are what those statements
// promise: operators' commands ask them what is allowed, docs/states.md is
// printed from them, and every engine of a test reports each move that they do
// not have (see package enginetest).
package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	tasker "github.com/tasker-systems/tasker-go"
)

// An Actor is who makes a move.
type Actor string

// The actors.
const (
	Intake       Actor = "intake"       // whatever accepts the task: API, client, request queue
	Worker       Actor = "worker"       // claims, runs and reports steps
	Orchestrator Actor = "orchestrator" // applies what was reported, lets steps go, settles tasks
	Operator     Actor = "operator"     // a person, or a program that acts for one
)

// A Move is what one event does to tasks or steps in some states. What is in no
// move is refused.
type Move[S, E ~string] struct {
	From  []S // nil: it comes into being
	Event E
	To    S // empty: it stays as it is, and a mark is set
	By    Actor
	When  string // the guard, in words
}

// A Table is all moves of tasks or of steps. No state has two moves for one
// event.
type Table[S, E ~string] []Move[S, E]

// Next returns the state that follows when the event happens in state from, and
// false when it cannot.
func (t Table[S, E]) Next(from S, event E) (S, bool) {
	for _, m := range t {
		if m.Event == event && slices.Contains(m.From, from) {
			if m.To == "" {
				return from, true
			}
			return m.To, true
		}
	}
	return "", false
}

// From returns the states in which the event can happen.
func (t Table[S, E]) From(event E) []S {
	var states []S
	for _, m := range t {
		if m.Event == event {
			states = append(states, m.From...)
		}
	}
	return states
}

// Events returns what the actor can do in a state, in the order of the table.
func (t Table[S, E]) Events(from S, by Actor) []E {
	var events []E
	for _, m := range t {
		if m.By == by && slices.Contains(m.From, from) {
			events = append(events, m.Event)
		}
	}
	return events
}

// A Pair is a change of state; From is empty when the row comes into being.
type Pair struct{ From, To string }

// String is the pair with an arrow.
func (p Pair) String() string {
	if p.From == "" {
		return "[new] → " + p.To
	}
	return p.From + " → " + p.To
}

// Pairs returns every change of state that some event makes, once. Moves that
// leave the state as it is are not among them.
func (t Table[S, E]) Pairs() []Pair {
	seen := map[Pair]bool{}
	var pairs []Pair
	add := func(p Pair) {
		if p.To != "" && p.From != p.To && !seen[p] {
			seen[p] = true
			pairs = append(pairs, p)
		}
	}
	for _, m := range t {
		if m.From == nil {
			add(Pair{"", string(m.To)})
		}
		for _, from := range m.From {
			add(Pair{string(from), string(m.To)})
		}
	}
	return pairs
}

// ErrRefused is what every [Error] is, for errors.Is.
var ErrRefused = errors.New("not possible in this state")

// An Error says that a task or a step is in a state that does not allow what
// was asked.
type Error struct {
	What     string   // as in "task 7f3…" or "step charge of task 7f3…"
	State    string   // that it is in
	Asked    string   // the event, as in "cancel"
	Possible []string // what could be done instead; empty: nothing
}

// Error names the state and what would be possible.
func (e *Error) Error() string {
	possible := "nothing can be done to it any more"
	if len(e.Possible) > 0 {
		possible = "possible: " + strings.ReplaceAll(strings.Join(e.Possible, ", "), "_", " ")
	}
	return fmt.Sprintf("%s is %s, so %s is not possible; %s", e.What, e.State, strings.ReplaceAll(e.Asked, "_", " "), possible)
}

// Unwrap makes it an [ErrRefused].
func (e *Error) Unwrap() error { return ErrRefused }

// Open are the states of tasks that are not final.
func Open() []tasker.TaskState {
	return []tasker.TaskState{
		tasker.TaskPending, tasker.TaskInitializing, tasker.TaskEnqueuingSteps, tasker.TaskStepsInProcess,
		tasker.TaskEvaluatingResults, tasker.TaskWaitingForDependencies, tasker.TaskWaitingForRetry, tasker.TaskBlockedByFailures,
	}
}

// openBut is Open without some.
func openBut(out ...tasker.TaskState) []tasker.TaskState {
	return slices.DeleteFunc(Open(), func(s tasker.TaskState) bool { return slices.Contains(out, s) })
}

// Movable are the states of steps that are not final.
func Movable() []tasker.StepState {
	return []tasker.StepState{
		tasker.StepPending, tasker.StepEnqueued, tasker.StepInProgress, tasker.StepReported,
		tasker.StepReportedError, tasker.StepWaitingForRetry,
	}
}
