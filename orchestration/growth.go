package orchestration

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/tasker-systems/tasker-go/config"
	"github.com/tasker-systems/tasker-go/internal/common/catalog"
	"github.com/tasker-systems/tasker-go/internal/common/expansion"
	"github.com/tasker-systems/tasker-go/internal/common/outcome"
	"github.com/tasker-systems/tasker-go/internal/common/postgres"
	"github.com/tasker-systems/tasker-go/internal/common/telemetry"
	"github.com/tasker-systems/tasker-go/internal/common/templates"
)

// A decision is the result of a step that may bring other steps about.
type decision struct {
	entry  *catalog.Entry
	step   *postgres.ClaimedStep
	result json.RawMessage
}

// decisionMetrics count what results bring about; nil ones count nothing.
type decisionMetrics struct {
	outcomes, created, refused, warnings *telemetry.Counter
	steps                                *telemetry.Histogram
}

func newDecisionMetrics(m *telemetry.Metrics, cfg config.DecisionPoints) decisionMetrics {
	if !cfg.EnableMetrics {
		return decisionMetrics{}
	}
	return decisionMetrics{
		outcomes: m.Counter("tasker.decision_points.outcomes_processed", "Results of decision and batchable steps that were carried out.", "namespace"),
		created:  m.Counter("tasker.decision_points.steps_created", "Steps that results brought about.", "namespace"),
		refused:  m.Counter("tasker.decision_points.validation_errors", "Results that could not be carried out and failed their step.", "namespace"),
		warnings: m.Counter("tasker.decision_points.warnings", "Results that passed a warning threshold.", "namespace"),
		steps: m.Histogram("tasker.decision_point.step_count", "{step}", "Steps that one result brought about.",
			[]float64{0, 1, 2, 5, 10, 20, 50, 100, 500, 1000}, "namespace"),
	}
}

// decides returns the definition of a task one of whose steps may bring others
// about, and nil when results of the step do not.
func (p *processor) decides(ctx context.Context, template uuid.UUID, step string) *catalog.Entry {
	entry, err := p.entry(ctx, template)
	if err != nil {
		return nil
	}
	if definition, _, ok := entry.Step(step); ok && expansion.Decides(definition) {
		return entry
	}
	return nil
}

// readDecisions reads what reported steps decided: their results are on the
// step rows only.
func (p *processor) readDecisions(ctx context.Context, group []postgres.StoredReport) (map[postgres.StepRef]decision, error) {
	decided := map[postgres.StepRef]decision{}
	var steps []postgres.StepRef
	var limited []uuid.UUID // tasks whose contexts name limits
	for i := range group {
		r := &group[i]
		if r.Failed || r.Definition != "" {
			continue
		}
		if entry := p.decides(ctx, r.Template, r.Name); entry != nil {
			decided[r.StepRef] = decision{entry: entry, step: claimedOf(r)}
			steps = append(steps, r.StepRef)
			if entry.Limited() {
				limited = append(limited, r.Task)
			}
		}
	}
	if len(steps) == 0 {
		return nil, nil
	}
	var results map[postgres.StepRef]json.RawMessage
	contexts := map[uuid.UUID]json.RawMessage{}
	err := p.ops.Do(ctx, "read decisions", func(ctx context.Context) (err error) {
		if results, err = postgres.ReadResults(ctx, p.db, steps); err == nil && len(limited) > 0 {
			contexts, err = postgres.ReadContexts(ctx, p.db, limited)
		}
		return err
	})
	for step, result := range results {
		d := decided[step]
		d.result, d.step.Context = result, contexts[step.Task]
		decided[step] = d
	}
	return decided, err
}

// companions go along with what the results of a batch bring about.
type companions struct {
	known  *announced
	traced *results
}

// grow has the decisions bring about what they say. One that cannot be carried
// out fails its step, so their tasks are settled, and other events follow than
// those of its success.
func (p *processor) grow(ctx context.Context, batch *postgres.Batch, decided map[postgres.StepRef]decision, with companions) {
	if len(decided) == 0 {
		return
	}
	batch.Grow = &postgres.Grow{Plan: func(step postgres.StepRef, siblings []postgres.Sibling) ([]postgres.GrownStep, *postgres.Refusal) {
		d := decided[step]
		ctx := telemetry.About(ctx, d.step)
		span := with.traced.decide(ctx, step, kindOf(d))
		steps, err := p.plan(ctx, step, d, siblings)
		endDecision(span, kindOf(d), len(steps), err)
		if err != nil {
			p.log.WarnContext(ctx, "a result cannot be carried out; its step has failed", "error", err)
			failure := outcome.Failure{Kind: outcome.InvalidOutcome, Message: err.Error(), Permanent: true}
			return nil, &postgres.Refusal{Error: failure.JSON(), Events: p.instead(ctx, d, &failure, with.known)}
		}
		return steps, nil
	}}
	for step := range decided {
		batch.Grow.Steps = append(batch.Grow.Steps, step)
		batch.Settle = append(batch.Settle, step.Task)
	}
}

func (p *processor) plan(ctx context.Context, step postgres.StepRef, d decision, siblings []postgres.Sibling) ([]postgres.GrownStep, error) {
	growth, err := expansion.Grow(expansion.Origin{
		Template: d.entry.Template, Graph: d.entry.Graph, Siblings: siblingsOf(siblings), Ordinal: step.Ordinal, Result: d.result, Limits: p.limits,
	})
	namespace := d.entry.Template.Namespace
	if err != nil {
		p.decided.refused.Add(ctx, 1, namespace)
		return nil, err
	}
	p.decided.outcomes.Add(ctx, 1, namespace)
	p.decided.created.Add(ctx, int64(len(growth.Steps)), namespace)
	p.decided.warnings.Add(ctx, int64(len(growth.Warnings)), namespace)
	p.decided.steps.Record(ctx, float64(len(growth.Steps)), namespace)
	for _, warning := range growth.Warnings {
		p.log.WarnContext(ctx, warning) //nolint:sloglint // the texts of one list
	}
	if p.limits.EnableDetailedLogging {
		p.log.InfoContext(ctx, "decided", "named", growth.Named, "steps", growth.Names())
	}
	keys, err := d.entry.LimitKeys(d.step.Context)
	if err != nil {
		return nil, err
	}
	return grownSteps(d.entry, growth, keys), nil
}

func siblingsOf(siblings []postgres.Sibling) []expansion.Sibling {
	out := make([]expansion.Sibling, len(siblings))
	for i, s := range siblings {
		out[i] = expansion.Sibling{Ordinal: s.Ordinal, Definition: s.Definition, State: s.State, Depth: s.Depth}
	}
	return out
}

// grownSteps are the steps of a growth as the database takes them, in a task with
// the given keys of limits.
func grownSteps(entry *catalog.Entry, growth expansion.Growth, keys []string) []postgres.GrownStep {
	steps := make([]postgres.GrownStep, len(growth.Steps))
	for i, s := range growth.Steps {
		grown := postgres.GrownStep{NewStep: entry.Steps[s.Definition], Depth: s.Depth, Input: s.Input, Tolerated: s.Tolerated, Empty: s.Empty, AtOnce: s.Limit}
		if definition := grown.Name; definition != s.Name {
			grown.Definition = definition
		}
		grown.Gates, grown.Limits = entry.Gates(s.Definition, keys), nil
		if i == 0 && entry.Limited() {
			grown.Declares = entry.Limits(keys)
		}
		grown.Ordinal, grown.Name, grown.DependsOn, grown.Dependents = s.Ordinal, s.Name, s.DependsOn, nil
		steps[i] = grown
	}
	return steps
}

// forBatch adds what the failure for good of a batch worker means for others.
func forBatch(f *postgres.Failed, entry *catalog.Entry, worker string) {
	_, place, ok := entry.Step(worker)
	if !ok {
		return
	}
	switch cfg := expansion.BatchConfig(entry.Template, entry.Graph, place); cfg.FailureStrategy {
	case templates.ContinueOnFailure:
		f.Tolerated = true
	case templates.Isolate:
		f.Tolerated, f.Isolated = true, true
	case templates.FailFast:
		f.StopCopies = true
	default:
		panic(fmt.Sprintf("orchestration: unknown failure strategy %q", cfg.FailureStrategy)) // the template was checked
	}
}
