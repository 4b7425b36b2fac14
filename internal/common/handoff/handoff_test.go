package handoff_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/handoff"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/taskid"
)

func outcomeOf(task uuid.UUID) outcome.Outcome {
	return outcome.Outcome{Step: postgres.ClaimedStep{Message: postgres.Message{StepRef: postgres.StepRef{Task: task}}}}
}

// TestLanes: outcomes of one task take one lane, in order; those of many tasks
// use all lanes.
func TestLanes(t *testing.T) {
	t.Parallel()
	const tasks, each = 100, 3
	l := handoff.New(2, tasks*each)
	for range tasks {
		task := taskid.New()
		for claim := range each {
			o := outcomeOf(task)
			o.Step.Claim = int32(claim)
			l.Report(o)
		}
	}
	laneOf, last := map[uuid.UUID]int{}, map[uuid.UUID]int32{}
	for i, lane := range l.Lanes() {
		if len(lane) == 0 {
			t.Errorf("lane %d is empty", i)
		}
		for len(lane) > 0 {
			s := (<-lane).Step
			if before, seen := laneOf[s.Task]; seen && before != i {
				t.Errorf("task %s uses lanes %d and %d", s.Task, before, i)
			}
			if s.Claim < last[s.Task] {
				t.Errorf("claim %d came after %d", s.Claim, last[s.Task])
			}
			laneOf[s.Task], last[s.Task] = i, s.Claim
		}
	}
	if len(laneOf) != tasks {
		t.Errorf("%d tasks came through, want %d", len(laneOf), tasks)
	}
}

// TestReportWaits: a full lane holds the worker back; closing the line frees it.
func TestReportWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := handoff.New(1, 1)
		task := taskid.New()
		l.Report(outcomeOf(task))
		passed := false
		go func() { l.Report(outcomeOf(task)); passed = true }()
		synctest.Wait()
		if passed {
			t.Fatal("reported into a full lane")
		}
		<-l.Lanes()[0]
		synctest.Wait()
		if !passed {
			t.Fatal("still waiting for room that there is")
		}
		passed = false
		go func() { l.Report(outcomeOf(task)); passed = true }()
		synctest.Wait()
		l.Close()
		l.Close()
		synctest.Wait()
		if !passed {
			t.Fatal("still waiting on a closed line")
		}
		<-l.Closed()
	})
}

func TestDrained(t *testing.T) {
	t.Parallel()
	l := handoff.New(1, 1)
	select {
	case <-l.Drained():
		t.Error("drained at the start")
	default:
	}
	l.MarkDrained()
	l.MarkDrained()
	<-l.Drained()
}

// nobody is a runner that is never called.
type nobody struct{ handoff.Runner }

func TestAttach(t *testing.T) {
	t.Parallel()
	l := handoff.New(1, 1)
	if r := l.Runner(); r != nil {
		t.Errorf("got %v at the start", r)
	}
	l.Attach(nobody{})
	if r := l.Runner(); r != (nobody{}) {
		t.Errorf("got %v", r)
	}
	l.Attach(nil)
	if r := l.Runner(); r != nil {
		t.Errorf("got %v after the end", r)
	}
}
