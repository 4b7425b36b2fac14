package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const setLimitSQL = `
	insert into tasker.limits (name, origin, max_concurrent, rate, per_seconds, burst)
	values ($1, 'operator', $2, $3, $4, $5)
	on conflict (name, origin) do update set max_concurrent = excluded.max_concurrent, rate = excluded.rate,
		per_seconds = excluded.per_seconds, burst = excluded.burst, changed_at = clock_timestamp()`

// SetLimit sets what an operator allows, in place of what is declared, and has
// orchestrators look at what waits. It holds from then on for whatever starts.
func SetLimit(ctx context.Context, db DB, l Limit) error {
	names, concurrent, rates, per, bursts := limitColumns([]Limit{l})
	b := &pgx.Batch{}
	b.Queue(setLimitSQL, names[0], concurrent[0], rates[0], per[0], bursts[0])
	b.Queue(notifySQL, []string{GatesChannel})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("set the limit %s: %w", l.Name, err)
	}
	return nil
}

const removeLimitSQL = `delete from tasker.limits where name = $1 and origin = 'operator'`

// RemoveLimit takes an operator's limit away, so that what is declared holds
// again, and has orchestrators look at what waits. It returns [ErrNotFound] when
// no operator has set one.
func RemoveLimit(ctx context.Context, db DB, name string) error {
	b := &pgx.Batch{}
	found := false
	b.Queue(removeLimitSQL, name).Exec(func(tag pgconn.CommandTag) error {
		found = tag.RowsAffected() > 0
		return nil
	})
	b.Queue(notifySQL, []string{GatesChannel})
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("remove the limit %s: %w", name, err)
	}
	if !found {
		return fmt.Errorf("limit %s set by an operator: %w", name, ErrNotFound)
	}
	return nil
}

// A LimitState is a limit in force and how it is used.
type LimitState struct {
	Limit

	Operator bool      // an operator has set it
	Declared *Limit    // what templates or a batch say, where an operator has said otherwise
	Changed  time.Time // when its numbers were last set
	InUse    int       // steps under way that have passed it; of a namespace those in progress
	Waiting  int       // steps that wait at it and at no other
}

// Of the limits of one name the operator's comes first.
const listLimitsSQL = `
	select l.name, l.max_concurrent, l.rate, l.per_seconds, l.burst, l.origin = 'operator', l.changed_at,
		d.name is not null, d.max_concurrent, d.rate, d.per_seconds, d.burst,
		(select count(*) from tasker.limit_slots s where s.name = l.name),
		(select count(*) from tasker.gated_steps g where g.gates[1] collate "C" = '` + limitGate + `' || l.name)
	from (
		select distinct on (name) *
		from tasker.limits
		where name > $1 and ($2 = '' or name = $2)
		order by name, origin desc
		limit $3
	) l
	left join tasker.limits d on l.origin = 'operator' and d.name = l.name and d.origin = 'declared'
	order by l.name`

// ListLimits returns up to most limits in force by name, from the one that
// follows after, or the one named.
func ListLimits(ctx context.Context, db DB, after, name string, most int) ([]LimitState, error) {
	rows, _ := db.Query(ctx, listLimitsSQL, after, name, most) // CollectRows returns its error
	all, err := pgx.CollectRows(rows, scanLimit)
	if err != nil {
		return nil, fmt.Errorf("list limits: %w", err)
	}
	return all, countNamespaces(ctx, db, all)
}

// countNamespaces fills in how many steps of limited namespaces are in progress.
func countNamespaces(ctx context.Context, db DB, all []LimitState) error {
	places := map[string]*LimitState{}
	var names []string
	for i := range all {
		if strings.HasPrefix(all[i].Name, namespaceLimits) {
			places[all[i].Name] = &all[i]
			names = append(names, all[i].Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	rows, _ := db.Query(ctx, namespaceUseSQL, names) // ForEachRow returns its error
	var name string
	var n int
	_, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error {
		places[name].InUse = n
		return nil
	})
	if err != nil {
		return fmt.Errorf("count the steps in progress of limited namespaces: %w", err)
	}
	return nil
}

func scanLimit(row pgx.CollectableRow) (LimitState, error) {
	var l LimitState
	var declared Limit
	var isDeclared bool
	var now, then limitNumbers
	err := row.Scan(&l.Name, &l.MaxConcurrent, &now.rate, &now.per, &now.burst, &l.Operator, &l.Changed,
		&isDeclared, &declared.MaxConcurrent, &then.rate, &then.per, &then.burst, &l.InUse, &l.Waiting)
	now.fill(&l.Limit)
	if isDeclared {
		declared.Name = l.Name
		then.fill(&declared)
		l.Declared = &declared
	}
	return l, err
}

// limitNumbers are the columns of a rate, null without one.
type limitNumbers struct{ rate, per, burst *float64 }

func (n limitNumbers) fill(l *Limit) {
	if n.rate != nil {
		l.Rate, l.Per, l.Burst = *n.rate, duration(*n.per), *n.burst
	}
}

// namespaceUseSQL counts the steps in progress of the namespaces, by the name of
// their limit.
const namespaceUseSQL = `
	select '` + namespaceLimits + `' || p.namespace, count(*)
	from tasker.tasks t
	join tasker.templates p on p.template_id = t.template_id
	join tasker.steps s on s.task_id = t.task_id
	where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually') and s.state = 'in_progress'
	and '` + namespaceLimits + `' || p.namespace = any ($1)
	group by p.namespace`
