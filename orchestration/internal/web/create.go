package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/internal/common/intake"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/web"
)

// errTooLarge marks a context above its limit, which is answered as a body
// above its limit is: the client need not know which of the two it met.
var errTooLarge = errors.New("context too large")

// errTwoKeys marks a request that says two things at once.
var errTwoKeys = errors.New("the header Idempotency-Key and idempotency_key in the body differ")

// A TaskRequest asks for a task.
type TaskRequest struct {
	Name           string     `json:"name" minLength:"1" doc:"Of the template" example:"order_fulfillment"`
	Namespace      string     `json:"namespace" minLength:"1" doc:"Of the template" example:"orders"`
	Version        string     `json:"version,omitempty" doc:"Of the template; without it the highest one"`
	Context        web.Object `json:"context,omitzero" doc:"The input of the task, an object of at most 1 MiB; without it {}"`
	CorrelationID  *uuid.UUID `json:"correlation_id,omitempty" format:"uuid" doc:"Ties the task to others, of any system"`
	Initiator      string     `json:"initiator,omitempty" doc:"Who asks"`
	SourceSystem   string     `json:"source_system,omitempty" doc:"From where"`
	Reason         string     `json:"reason,omitempty" doc:"Why"`
	Tags           []string   `json:"tags,omitempty" nullable:"false"`
	Priority       int        `json:"priority,omitempty" minimum:"-100" maximum:"100" doc:"Steps of a higher priority run first; what waits is overtaken only so often"`
	IdempotencyKey string     `json:"idempotency_key,omitempty" maxLength:"500" doc:"Says, in place of the context, which tasks of the template are the same. Where one exists, the answer is that task"`
	RunAt          time.Time  `json:"run_at,omitzero" doc:"When the first steps may start; without it at once"`
	ParentID       *uuid.UUID `json:"parent_correlation_id,omitempty" format:"uuid" doc:"The correlation id of what caused it"`
}

func (r *TaskRequest) request() intake.Request {
	return intake.Request{
		Template: postgres.TemplateName{Namespace: r.Namespace, Name: r.Name, Version: r.Version},
		Context:  r.Context.RawMessage, CorrelationID: r.CorrelationID,
		Initiator: r.Initiator, SourceSystem: r.SourceSystem, Reason: r.Reason, Tags: r.Tags,
		Priority: r.Priority, RunAt: r.RunAt, ParentID: r.ParentID, IdempotencyKey: r.IdempotencyKey,
	}
}

type createInput struct {
	Waiting

	IdempotencyKey string `header:"Idempotency-Key" maxLength:"500" doc:"The same as idempotency_key in the body"`
	Body           TaskRequest
}

type createOutput struct {
	Status   int
	Location string `header:"Location" doc:"Where to read the task"`
	Applied  string `header:"Preference-Applied" doc:"The wait of the header Prefer, if the server followed it"`
	Body     Task
}

// createTask creates a task and answers with it, without its steps. Who sends an
// idempotency key again gets the same answer but for the status; who asks for the
// same task without one is refused.
func (s *service) createTask(ctx context.Context, in *createInput) (*createOutput, error) {
	if in.Body.IdempotencyKey == "" {
		in.Body.IdempotencyKey = in.IdempotencyKey
	}
	if in.IdempotencyKey != "" && in.IdempotencyKey != in.Body.IdempotencyKey {
		return nil, &web.Located{Err: errTwoKeys, Location: "body.idempotency_key"}
	}
	accepted, err := s.accept(ctx, []TaskRequest{in.Body}, func(int) string { return "body.context" })
	if err != nil {
		return nil, err
	}
	out := &createOutput{Status: http.StatusCreated, Location: "/v1/tasks/" + accepted.IDs[0].String()}
	if len(accepted.Duplicates) > 0 {
		if in.Body.IdempotencyKey == "" {
			return nil, &web.Duplicate{Task: accepted.IDs[0].String(), Location: out.Location}
		}
		out.Status = http.StatusOK
	}
	if wait, _ := in.patience(); wait > 0 {
		ended, err := s.readTask(ctx, &readInput{Waiting: in.Waiting, ID: accepted.IDs[0]})
		if err != nil {
			return nil, err
		}
		out.Applied, out.Body = ended.Applied, ended.Body
		return out, nil
	}
	created, err := postgres.FindTask(ctx, s.DB, accepted.IDs[0])
	if err != nil {
		return nil, err
	}
	out.Body = taskOf(&created, nil)
	return out, nil
}

type createManyInput struct {
	Body struct {
		Tasks []TaskRequest `json:"tasks" minItems:"1" maxItems:"10000" nullable:"false"`
	}
}

type createManyOutput struct {
	Body struct {
		IDs        []uuid.UUID `json:"task_uuids" nullable:"false" doc:"In the order of the requests"`
		Duplicates []int       `json:"duplicates,omitempty" doc:"The places, from 0, of the requests whose task existed already"`
	}
}

// createTasks creates many tasks in one transaction.
func (s *service) createTasks(ctx context.Context, in *createManyInput) (*createManyOutput, error) {
	accepted, err := s.accept(ctx, in.Body.Tasks, func(task int) string { return fmt.Sprintf("body.tasks[%d].context", task) })
	if err != nil {
		return nil, err
	}
	out := &createManyOutput{}
	out.Body.IDs, out.Body.Duplicates = accepted.IDs, accepted.Duplicates
	return out, nil
}

// accept creates tasks and wakes who runs their first steps. Where says where in
// the body the context of a task stands.
func (s *service) accept(ctx context.Context, asked []TaskRequest, where func(task int) string) (intake.Accepted, error) {
	requests := make([]intake.Request, len(asked))
	for i := range asked {
		if n := len(asked[i].Context.RawMessage); n > intake.MaxContext {
			return intake.Accepted{}, fmt.Errorf("%w: that of task %d has %d bytes; at most %d are allowed", errTooLarge, i+1, n, intake.MaxContext)
		}
		requests[i] = asked[i].request()
	}
	accepted, err := intake.Accept(ctx, s.DB, s.Door, requests)
	if err != nil {
		return intake.Accepted{}, locate(err, where)
	}
	for _, channel := range accepted.Channels(s.Names) {
		s.Notifier.Wake(channel)
	}
	return accepted, nil
}

// locate says where in the body the contexts stand that err is about.
func locate(err error, where func(task int) string) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var located []error
	for _, part := range joined.Unwrap() {
		if c, ok := errors.AsType[*intake.ContextError](part); ok {
			part = &web.Located{Err: part, Location: where(c.Task), Pointer: c.Pointer}
		}
		located = append(located, part)
	}
	return errors.Join(located...)
}
