package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/client"
	"github.com/tasker-systems/tasker-go/internal/enginetest"
	"github.com/tasker-systems/tasker-go/taskertest"
)

// strategies starts an engine with a template of each identity strategy, which
// has two steps.
func strategies(t *testing.T) *enginetest.Engine {
	t.Helper()
	var documents []string
	for _, strategy := range []string{"strict", "caller_provided", "always_unique"} {
		documents = append(documents, fmt.Sprintf(`{name: %s, namespace: test, identity_strategy: %s, steps: [
			{name: one, handler: {callable: echo}}, {name: two, handler: {callable: echo}, dependencies: [one]}]}`, strategy, strategy))
	}
	return enginetest.Start(t, enginetest.Options{Deployment: enginetest.Combined, Templates: taskertest.YAML(documents...), Handlers: handlers})
}

func asking(template string, input any, key string) client.Request {
	return client.Request{Namespace: "test", Template: template, Context: input, IdempotencyKey: key}
}

// TestIdentityStrategies: which of two requests ask for the same task.
func TestIdentityStrategies(t *testing.T) {
	t.Parallel()
	e := strategies(t)
	type object map[string]any
	for _, tt := range []struct {
		name string
		a, b client.Request
		same bool
	}{
		{"strict, equal", asking("strict", object{"a": 1, "b": 2}, ""), asking("strict", object{"b": 2, "a": 1}, ""), true},
		{"strict, no context", asking("strict", nil, ""), asking("strict", object{}, ""), true},
		{"strict, other context", asking("strict", object{"c": 1}, ""), asking("strict", object{"c": 2}, ""), false},
		{"strict, equal keys", asking("strict", object{"d": 1}, "d"), asking("strict", object{"d": 2}, "d"), true},
		{"strict, other keys", asking("strict", object{"e": 1}, "e1"), asking("strict", object{"e": 1}, "e2"), false},
		{"caller_provided", asking("caller_provided", object{"a": 1}, "k"), asking("caller_provided", object{"a": 2}, "k"), true},
		{"caller_provided, other keys", asking("caller_provided", nil, "k1"), asking("caller_provided", nil, "k2"), false},
		{"always_unique", asking("always_unique", nil, ""), asking("always_unique", nil, ""), false},
		{"always_unique, equal keys", asking("always_unique", nil, "k"), asking("always_unique", nil, "k"), true},
		{"other templates", asking("strict", nil, "shared"), asking("caller_provided", nil, "shared"), false},
	} {
		first, err := e.Client.CreateTask(t.Context(), tt.a)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		second, err := e.Client.CreateTask(t.Context(), tt.b)
		if same := errors.Is(err, client.ErrDuplicate); same != tt.same || (second == first) != tt.same || err != nil && !same {
			t.Errorf("%s: got %s and %s, %v", tt.name, first, second, err)
		}
		if tt.same && !strings.Contains(err.Error(), first) {
			t.Errorf("%s: %v does not name %s", tt.name, err, first)
		}
		if task := e.Wait(second); task.State != tasker.TaskComplete || len(task.Steps) != 2 {
			t.Errorf("%s: the task is %s", tt.name, task.State)
		}
	}
	_, err := e.Client.CreateTasks(t.Context(), []client.Request{asking("strict", object{"f": 1}, ""), asking("caller_provided", nil, "")})
	if !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), "task 2: the template test/caller_provided needs an idempotency key") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := e.Client.CreateTask(t.Context(), asking("strict", nil, strings.Repeat("k", 501))); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a long key: %v", err)
	}
}

// TestDuplicatesInBulk: of several that are the same one is created, and all ids
// are in place.
func TestDuplicatesInBulk(t *testing.T) {
	t.Parallel()
	e := strategies(t)
	existing, err := e.Client.CreateTask(t.Context(), asking("strict", map[string]int{"n": 1}, ""))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := e.Client.CreateTasks(t.Context(), []client.Request{
		asking("strict", map[string]int{"n": 0}, ""), asking("strict", map[string]int{"n": 1}, ""), asking("always_unique", nil, ""),
		asking("always_unique", nil, ""), asking("strict", map[string]int{"n": 0}, ""), asking("always_unique", nil, "key"), asking("always_unique", nil, "key"),
	})
	duplicate, ok := errors.AsType[*client.DuplicateError](err)
	if !ok || !slices.Equal(duplicate.Requests, []int{1, 4, 6}) || !slices.Equal(duplicate.IDs, []string{existing, ids[0], ids[5]}) {
		t.Fatalf("got %v, %v", ids, err)
	}
	if len(ids) != 7 || ids[1] != existing || ids[4] != ids[0] || ids[6] != ids[5] || ids[2] == ids[3] {
		t.Errorf("got %v", ids)
	}
	for _, id := range ids {
		if task := e.Wait(id); task.State != tasker.TaskComplete || len(task.Steps) != 2 {
			t.Errorf("task %s is %s", id, task.State)
		}
	}
	if n := enginetest.Query[int](e, `select count(*) from tasker.tasks`); n != 5 {
		t.Errorf("%d tasks, want 5", n)
	}
}

// TestDuplicateInTransaction: a duplicate does not break the caller's
// transaction, and a task that was rolled back is none.
func TestDuplicateInTransaction(t *testing.T) {
	t.Parallel()
	e := strategies(t)
	in := func(end func(context.Context) error, r client.Request, create func(client.Request) (string, error)) (string, error) {
		id, err := create(r)
		return id, errors.Join(err, end(t.Context()))
	}
	lost, err := e.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := in(lost.Rollback, asking("strict", nil, ""), func(r client.Request) (string, error) { return e.Client.CreateTaskTx(t.Context(), lost, r) })
	if err != nil {
		t.Fatal(err)
	}
	kept, err := e.Client.CreateTask(t.Context(), asking("strict", nil, ""))
	if err != nil || kept == first {
		t.Fatalf("after a rollback: %s, %v", kept, err)
	}
	tx, err := e.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := in(tx.Commit, asking("strict", nil, ""), func(r client.Request) (string, error) {
		if id, err := e.Client.CreateTaskTx(t.Context(), tx, r); id != kept || !errors.Is(err, client.ErrDuplicate) {
			t.Errorf("got %s, %v; want %s", id, err, kept)
		}
		return e.Client.CreateTaskTx(t.Context(), tx, asking("strict", map[string]int{"n": 2}, ""))
	})
	if err != nil || e.Wait(again).State != tasker.TaskComplete {
		t.Errorf("the other task of the transaction: %s, %v", again, err)
	}
}

// TestSameTaskAtOnce has many ask for the same hundred tasks of two templates at
// once, each in an order of its own: one of each comes to exist, and nobody waits
// for somebody who waits for him.
func TestSameTaskAtOnce(t *testing.T) {
	t.Parallel()
	e := strategies(t)
	const tasks, creators = 100, 8
	ids := make([]map[string]string, creators)
	var g errgroup.Group
	for c := range creators {
		g.Go(func() error {
			requests := make([]client.Request, tasks)
			for i, n := range rand.Perm(tasks) {
				requests[i] = asking([]string{"strict", "caller_provided"}[n%2], map[string]int{"n": n}, []string{"", fmt.Sprint(n)}[n%2])
			}
			created, err := e.Client.CreateTasks(t.Context(), requests)
			if err != nil && !errors.Is(err, client.ErrDuplicate) {
				return err
			}
			ids[c] = map[string]string{}
			for i, id := range created {
				ids[c][fmt.Sprint(requests[i].Context)] = id
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, others := range ids[1:] {
		for n, id := range ids[0] {
			if others[n] != id {
				t.Fatalf("%s is task %s for one and %s for another", n, id, others[n])
			}
		}
	}
	for _, id := range ids[0] {
		if task := e.Wait(id); task.State != tasker.TaskComplete {
			t.Errorf("task %s is %s", id, task.State)
		}
	}
	if n := enginetest.Query[int](e, `select count(*) from tasker.steps`); n != 2*tasks {
		t.Errorf("%d steps, want %d", n, 2*tasks)
	}
}
