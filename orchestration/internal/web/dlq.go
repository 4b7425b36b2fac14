package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	tasker "github.com/tasker-systems/tasker-go"
	"github.com/tasker-systems/tasker-go/internal/common/auth"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// Why an entry of the dead letter queue is refused.
var (
	errNoManualEntries = errors.New("entries by hand are turned off: see orchestration.dlq.enabled and orchestration.dlq.reasons.manual_dlq")
	errAlreadyAside    = errors.New("the task has a pending entry already")
)

// A DLQEntry is an investigation: why a task cannot go on, and what became of it.
type DLQEntry struct {
	ID             uuid.UUID              `json:"dlq_entry_uuid" format:"uuid"`
	TaskID         uuid.UUID              `json:"task_uuid" format:"uuid"`
	TaskName       string                 `json:"task_name" doc:"Of the template"`
	Namespace      string                 `json:"namespace"`
	Version        string                 `json:"version"`
	TaskStatus     *tasker.TaskState      `json:"task_status,omitempty" doc:"Now; absent once the task is archived"`
	OriginalState  tasker.TaskState       `json:"original_state" doc:"Of the task when it was set aside"`
	Reason         postgres.DLQReason     `json:"dlq_reason" enum:"staleness_timeout,max_retries_exceeded,dependency_cycle_detected,worker_unavailable,manual_dlq"`
	EnteredAt      time.Time              `json:"dlq_timestamp"`
	Resolution     postgres.DLQResolution `json:"resolution_status" enum:"pending,manually_resolved,permanently_failed,cancelled,requeued"`
	ResolvedAt     *time.Time             `json:"resolution_timestamp,omitempty"`
	ResolvedBy     *string                `json:"resolved_by,omitempty"`
	Notes          *string                `json:"resolution_notes,omitempty"`
	Overdue        bool                   `json:"overdue" doc:"Pending for longer than max_pending_age_hours"`
	PriorityScore  float64                `json:"priority_score" doc:"How urgent it is among the pending: the reason, then the minutes it has been there"`
	MinutesInQueue float64                `json:"minutes_in_dlq" doc:"Until it was resolved, or until now"`
	Metadata       json.RawMessage        `json:"metadata" doc:"What was wrong, such as the steps that failed"`
	Snapshot       json.RawMessage        `json:"task_snapshot,omitempty" doc:"The task as it was, or its ids only; absent in lists"`
}

func entryOf(e *postgres.DLQEntry) DLQEntry {
	until := time.Now()
	if e.ResolvedAt != nil {
		until = *e.ResolvedAt
	}
	return DLQEntry{
		ID: e.ID, TaskID: e.Task, TaskName: e.Name, Namespace: e.Namespace, Version: e.Version, TaskStatus: e.TaskState,
		OriginalState: e.OriginalState, Reason: e.Reason, EnteredAt: e.EnteredAt, Resolution: e.Resolution, ResolvedAt: e.ResolvedAt,
		ResolvedBy: e.ResolvedBy, Notes: e.Notes, Overdue: e.Overdue, PriorityScore: e.Score,
		MinutesInQueue: max(0, until.Sub(e.EnteredAt).Minutes()), Metadata: e.Metadata, Snapshot: e.Snapshot,
	}
}

type entriesOutput struct {
	Body struct {
		Entries []DLQEntry `json:"entries" nullable:"false"`
	}
}

func entriesOf(found []postgres.DLQEntry) *entriesOutput {
	out := &entriesOutput{}
	out.Body.Entries = make([]DLQEntry, len(found))
	for i := range found {
		out.Body.Entries[i] = entryOf(&found[i])
	}
	return out
}

type entryOutput struct {
	Body DLQEntry
}

// overdue is the age at which a pending entry is flagged.
func (s *service) overdue() time.Duration { return s.DLQ.MaxPendingAge.Duration() }

type listEntriesInput struct {
	Resolution postgres.DLQResolution `query:"resolution_status" enum:"pending,manually_resolved,permanently_failed,cancelled,requeued"`
	Reason     postgres.DLQReason     `query:"dlq_reason" enum:"staleness_timeout,max_retries_exceeded,dependency_cycle_detected,worker_unavailable,manual_dlq"`
	Task       uuid.UUID              `query:"task_uuid" format:"uuid"`
	Limit      int                    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Offset     int                    `query:"offset" minimum:"0" maximum:"1000000" default:"0"`
}

// listEntries answers with entries, newest first.
func (s *service) listEntries(ctx context.Context, in *listEntriesInput) (*entriesOutput, error) {
	found, err := postgres.ListDLQ(ctx, s.DB, postgres.DLQFilter{
		Resolution: in.Resolution, Reason: in.Reason, Task: in.Task, Overdue: s.overdue(), Limit: in.Limit, Offset: in.Offset,
	})
	if err != nil {
		return nil, err
	}
	return entriesOf(found), nil
}

type limitInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// investigate answers with the pending entries, the most urgent first.
func (s *service) investigate(ctx context.Context, in *limitInput) (*entriesOutput, error) {
	found, err := postgres.InvestigationQueue(ctx, s.DB, s.overdue(), in.Limit)
	if err != nil {
		return nil, err
	}
	return entriesOf(found), nil
}

type entryInput struct {
	ID uuid.UUID `path:"entry_uuid" format:"uuid"`
}

// readEntry answers with an entry and its snapshot.
func (s *service) readEntry(ctx context.Context, in *entryInput) (*entryOutput, error) {
	found, err := postgres.FindDLQEntry(ctx, s.DB, in.ID, s.overdue())
	if err != nil {
		return nil, err
	}
	return &entryOutput{Body: entryOf(&found)}, nil
}

// readTaskEntry answers with the pending entry of a task, else its last.
func (s *service) readTaskEntry(ctx context.Context, in *stepsInput) (*entryOutput, error) {
	found, err := postgres.FindTaskDLQEntry(ctx, s.DB, in.ID, s.overdue())
	if err != nil {
		return nil, err
	}
	return &entryOutput{Body: entryOf(&found)}, nil
}

type setAsideInput struct {
	Body struct {
		Task     uuid.UUID  `json:"task_uuid" format:"uuid"`
		Notes    string     `json:"notes,omitempty" maxLength:"10000" doc:"What is to be looked into"`
		By       string     `json:"requested_by,omitempty" maxLength:"255"`
		Metadata web.Object `json:"metadata,omitzero"`
	}
}

// setAside makes an entry for a task by hand. The task itself stays as it is.
func (s *service) setAside(ctx context.Context, in *setAsideInput) (*entryOutput, error) {
	if !s.DLQ.Enabled || !s.DLQ.Reasons.ManualDLQ {
		return nil, errNoManualEntries
	}
	task := in.Body.Task
	if _, err := postgres.FindTask(ctx, s.DB, task); err != nil {
		return nil, err
	}
	var entered []postgres.Entered
	err := postgres.InTx(ctx, s.DB, func(db postgres.Pool) (err error) {
		letter := postgres.DeadLetter{Task: task, Reason: postgres.ManualDLQ, Metadata: in.Body.Metadata.RawMessage}
		if entered, err = postgres.Enter(ctx, db, []postgres.DeadLetter{letter}, s.DLQ.IncludeFullTaskSnapshot); err != nil {
			return err
		}
		if len(entered) == 0 {
			return fmt.Errorf("set task %s aside: %w", task, errAlreadyAside)
		}
		return postgres.Resolve(ctx, db, entered[0].Entry, postgres.Resolution{
			Status: postgres.DLQPending, By: auth.Actor(ctx, in.Body.By), Notes: in.Body.Notes,
		})
	})
	if err != nil {
		return nil, err
	}
	s.DeadLettered(ctx, entered)
	return s.readEntry(ctx, &entryInput{ID: entered[0].Entry})
}

type resolveInput struct {
	ID   uuid.UUID `path:"entry_uuid" format:"uuid"`
	Body struct {
		Status   postgres.DLQResolution `json:"resolution_status" enum:"pending,manually_resolved,permanently_failed,cancelled" doc:"pending adds to what is known"`
		Notes    string                 `json:"resolution_notes,omitempty" maxLength:"10000"`
		By       string                 `json:"resolved_by,omitempty" maxLength:"255"`
		Metadata web.Object             `json:"metadata,omitzero" doc:"Added to what is there"`
	}
}

// resolveEntry records what an operator found out.
func (s *service) resolveEntry(ctx context.Context, in *resolveInput) (*entryOutput, error) {
	err := postgres.Resolve(ctx, s.DB, in.ID, postgres.Resolution{
		Status: in.Body.Status, By: auth.Actor(ctx, in.Body.By), Notes: in.Body.Notes, Metadata: in.Body.Metadata.RawMessage,
	})
	if err != nil {
		return nil, err
	}
	return s.readEntry(ctx, &entryInput{ID: in.ID})
}

type requeueInput struct {
	ID   uuid.UUID `path:"entry_uuid" format:"uuid"`
	Body *Note
}

// requeue puts the task of an entry back to work.
func (s *service) requeue(ctx context.Context, in *requeueInput) (*entryOutput, error) {
	if err := s.operator().Requeue(ctx, in.ID, in.Body.by(ctx)); err != nil {
		return nil, err
	}
	return s.readEntry(ctx, &entryInput{ID: in.ID})
}

// DLQStats are the figures of one reason.
type DLQStats struct {
	Reason            postgres.DLQReason `json:"dlq_reason"`
	Total             int                `json:"total_entries"`
	Pending           int                `json:"pending"`
	Overdue           int                `json:"overdue"`
	ManuallyResolved  int                `json:"manually_resolved"`
	PermanentlyFailed int                `json:"permanently_failed"`
	Cancelled         int                `json:"cancelled"`
	Requeued          int                `json:"requeued"`
	Oldest            *time.Time         `json:"oldest_pending,omitempty"`
	Newest            *time.Time         `json:"newest_entry,omitempty"`
	ResolutionMinutes *float64           `json:"avg_resolution_time_minutes,omitempty"`
}

type statsOutput struct {
	Body struct {
		Reasons []DLQStats `json:"reasons" nullable:"false"`
	}
}

// summarize answers with the figures of each reason that has entries.
func (s *service) summarize(ctx context.Context, _ *struct{}) (*statsOutput, error) {
	found, err := postgres.SummarizeDLQ(ctx, s.DB, s.overdue())
	if err != nil {
		return nil, err
	}
	out := &statsOutput{}
	out.Body.Reasons = make([]DLQStats, len(found))
	for i, f := range found {
		out.Body.Reasons[i] = DLQStats(f)
	}
	return out, nil
}

// A RestingTask is how near an open task is to being stale.
type RestingTask struct {
	TaskID    uuid.UUID        `json:"task_uuid" format:"uuid"`
	Name      string           `json:"task_name" doc:"Of the template"`
	Namespace string           `json:"namespace"`
	Status    tasker.TaskState `json:"status"`
	Cause     string           `json:"cause" enum:"rest,lifetime" doc:"Which limit it is nearest to"`
	Minutes   float64          `json:"minutes" doc:"How much of the limit is used up"`
	Limit     float64          `json:"limit_minutes"`
	Health    string           `json:"health_status" enum:"healthy,warning,stale" doc:"warning from 80 per cent of the limit on"`
	Action    string           `json:"action" doc:"What becomes of it once it is stale"`
}

// nearly is the share of its limit at which a task comes near to being stale (the
// original, v_task_staleness_monitoring).
const nearly = 0.8

// Grade sets the health by the share of the limit that is used up.
func (r *RestingTask) Grade() {
	switch share := r.Minutes / r.Limit; {
	case share >= 1:
		r.Health = "stale"
	case share >= nearly:
		r.Health = "warning"
	default:
		r.Health = "healthy"
	}
}

type stalenessOutput struct {
	Body struct {
		Tasks []RestingTask `json:"tasks" nullable:"false"`
	}
}

// listStaleness answers with open tasks, those first that are nearest to being
// stale.
func (s *service) listStaleness(ctx context.Context, in *limitInput) (*stalenessOutput, error) {
	found, err := s.Resting(ctx, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &stalenessOutput{}
	out.Body.Tasks = found
	return out, nil
}

// An AsideMessage is a message that nobody could carry out.
type AsideMessage struct {
	Queue   string          `json:"queue"`
	ID      int64           `json:"message_id"`
	Reads   int32           `json:"reads" doc:"How often it was read"`
	Reason  string          `json:"reason"`
	At      time.Time       `json:"set_aside_at"`
	Message json.RawMessage `json:"message"`
}

type messagesOutput struct {
	Body struct {
		Messages []AsideMessage `json:"messages" nullable:"false"`
	}
}

// listMessages answers with what lies in the archives of the queues.
func (s *service) listMessages(ctx context.Context, in *limitInput) (*messagesOutput, error) {
	queues := []string{s.Names.Requests(), s.Names.Finalizations(), s.Names.Results()}
	namespaces, err := postgres.Namespaces(ctx, s.DB)
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces {
		queue, err := s.Names.Steps(namespace)
		if err != nil {
			return nil, err
		}
		queues = append(queues, queue)
	}
	found, err := postgres.ListAside(ctx, s.DB, queues, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &messagesOutput{}
	out.Body.Messages = make([]AsideMessage, len(found))
	for i, a := range found {
		out.Body.Messages[i] = AsideMessage{a.Queue, a.ID, a.Reads, a.Refused, a.At, a.Content}
	}
	return out, nil
}
