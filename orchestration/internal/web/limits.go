package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tasker-systems/tasker-go/internal/common/postgres"
)

// LimitNumbers are what a limit allows.
type LimitNumbers struct {
	Concurrency *int32  `json:"concurrency,omitempty" minimum:"0" maximum:"100000" doc:"Steps at once; without it any number"`
	Rate        float64 `json:"rate,omitempty" minimum:"0" maximum:"1000000" doc:"Steps that start per per_seconds; without it any number"`
	Per         float64 `json:"per_seconds,omitempty" minimum:"0" maximum:"86400" doc:"The period of the rate; without it 1"`
	Burst       float64 `json:"burst,omitempty" minimum:"0" maximum:"1000000" doc:"Steps that may start at once after a pause; without it the rate, and at least 1"`
}

// A Limit is a limit in force and how it is used.
type Limit struct {
	LimitNumbers

	Name     string        `json:"name" example:"namespace:payments"`
	Origin   string        `json:"origin" enum:"declared,operator" doc:"Who has set it: templates, or an operator"`
	Declared *LimitNumbers `json:"declared,omitempty" doc:"What templates say, where an operator has said otherwise"`
	Changed  time.Time     `json:"changed_at"`
	InUse    int           `json:"in_use" doc:"Steps that are enqueued or running under it; of a namespace those running"`
	Waiting  int           `json:"waiting" doc:"Steps held back by it"`
}

// errLimit marks a limit that cannot be set.
var errLimit = errors.New("invalid limit")

type listLimitsInput struct {
	After string `query:"after" doc:"Where to go on: next of the page before"`
	Name  string `query:"name" doc:"Only the limit of this name"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type listLimitsOutput struct {
	Body struct {
		Limits []Limit `json:"limits" nullable:"false"`
		Next   string  `json:"next,omitempty" doc:"Set when there is more"`
	}
}

// listLimits answers with a page of limits.
func (s *service) listLimits(ctx context.Context, in *listLimitsInput) (*listLimitsOutput, error) {
	found, err := postgres.ListLimits(ctx, s.DB, in.After, in.Name, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &listLimitsOutput{}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Body.Next = found[in.Limit-1].Name
	}
	out.Body.Limits = make([]Limit, len(found))
	for i := range found {
		out.Body.Limits[i] = limitOf(&found[i])
	}
	return out, nil
}

func limitOf(l *postgres.LimitState) Limit {
	out := Limit{
		Name: l.Name, LimitNumbers: numbersOf(&l.Limit), Origin: "declared", Changed: l.Changed, InUse: l.InUse, Waiting: l.Waiting,
	}
	if l.Operator {
		out.Origin = "operator"
	}
	if l.Declared != nil {
		declared := numbersOf(l.Declared)
		out.Declared = &declared
	}
	return out
}

func numbersOf(l *postgres.Limit) LimitNumbers {
	return LimitNumbers{Concurrency: l.MaxConcurrent, Rate: l.Rate, Per: l.Per.Seconds(), Burst: l.Burst}
}

type setLimitInput struct {
	Name string `path:"name" maxLength:"300" doc:"namespace:NAME, or key:KEY with the key of a template as its tasks have it"`
	Body LimitNumbers
}

type setLimitOutput struct {
	Body Limit
}

// setLimit sets a limit and answers with how it stands.
func (s *service) setLimit(ctx context.Context, in *setLimitInput) (*setLimitOutput, error) {
	limit, err := in.limit()
	if err != nil {
		return nil, err
	}
	if err := postgres.SetLimit(ctx, s.DB, limit); err != nil {
		return nil, err
	}
	s.wakeNamespace(in.Name)
	found, err := postgres.ListLimits(ctx, s.DB, "", in.Name, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 { // removed since
		return nil, fmt.Errorf("limit %s: %w", in.Name, postgres.ErrNotFound)
	}
	return &setLimitOutput{Body: limitOf(&found[0])}, nil
}

// limit is the limit asked for, with its defaults.
func (in *setLimitInput) limit() (postgres.Limit, error) {
	n := &in.Body
	kind, name, _ := strings.Cut(in.Name, ":")
	switch {
	case kind != "namespace" && kind != "key" || name == "":
		return postgres.Limit{}, fmt.Errorf("%w: the name is %q; it must be namespace:NAME or key:KEY", errLimit, in.Name)
	case n.Concurrency == nil && n.Rate == 0:
		return postgres.Limit{}, fmt.Errorf("%w: it limits nothing; give it a concurrency, a rate, or both", errLimit)
	case kind == "namespace" && n.Rate != 0:
		return postgres.Limit{}, fmt.Errorf("%w: a namespace has no rate, only a concurrency; limit the rate of a key", errLimit)
	case n.Rate == 0 && n.Per+n.Burst != 0:
		return postgres.Limit{}, fmt.Errorf("%w: per_seconds and burst belong to a rate, which is missing", errLimit)
	case n.Rate != 0 && n.Burst != 0 && n.Burst < 1:
		return postgres.Limit{}, fmt.Errorf("%w: the burst is %g; it must be at least 1, or no step could ever start", errLimit, n.Burst)
	}
	limit := postgres.Limit{Name: in.Name, MaxConcurrent: n.Concurrency}
	if n.Rate != 0 {
		limit.Rate, limit.Burst, limit.Per = n.Rate, n.Burst, time.Second
		if n.Per != 0 {
			limit.Per = time.Duration(n.Per * float64(time.Second))
		}
		if limit.Burst == 0 {
			limit.Burst = max(1, n.Rate)
		}
	}
	return limit, nil
}

type removeLimitInput struct {
	Name string `path:"name" maxLength:"300"`
}

// removeLimit takes an operator's limit away.
func (s *service) removeLimit(ctx context.Context, in *removeLimitInput) (*struct{}, error) {
	if err := postgres.RemoveLimit(ctx, s.DB, in.Name); err != nil {
		return nil, err
	}
	s.wakeNamespace(in.Name)
	return nil, nil //nolint:nilnil // an answer without a body
}

// wakeNamespace wakes the workers of a namespace whose limit has changed.
func (s *service) wakeNamespace(limit string) {
	if namespace, ok := strings.CutPrefix(limit, postgres.NamespaceLimit("")); ok {
		s.Notifier.Wake(s.Names.StepsChannel(namespace))
	}
}
