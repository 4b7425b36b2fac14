package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Limit bounds how many steps of a name are under way at once, how often one
// starts, or both.
type Limit struct {
	Name          string        // see [KeyLimit], [NamespaceLimit] and [BatchLimit]
	MaxConcurrent *int32        // steps under way at once; nil: any number
	Rate          float64       // steps that start per Per; 0: any number
	Per           time.Duration // with a Rate
	Burst         float64       // steps that may start at once after a pause; with a Rate at least 1
}

// KeyLimit is the name of the limit of a key, which templates give to steps.
func KeyLimit(key string) string { return keyLimits + key }

// NamespaceLimit is the name of the limit that bounds all steps of a namespace
// that run at once. It is no gate: claims keep it.
func NamespaceLimit(namespace string) string { return namespaceLimits + namespace }

// BatchLimit is the name of the limit of the batch workers that a step asked
// for.
func BatchLimit(step uuid.UUID) string { return batchLimits + step.String() }

// The kinds of limits, by how their names begin.
const (
	keyLimits       = "key:"
	namespaceLimits = "namespace:"
	batchLimits     = "batch:"
)

// LimitGate is the gate of a step that the limit of the given name may hold back.
func LimitGate(limit string) string { return limitGate + limit }

// Limits in use are not tidied away (see [DropUnusedLimits]) while the
// transaction that is about to refer to them runs. The lock is that of a foreign
// key: it holds up neither another of its kind nor who changes the numbers.
const keepLimitsSQL = `
	select from tasker.limits
	where name = any ($1) and origin = 'declared'
	order by name
	for key share`

// Rows that are right already are not touched: updating would lock them, and the
// caller's transaction may be a long one of a user.
const declareLimitsSQL = `
	insert into tasker.limits (name, origin, max_concurrent, rate, per_seconds, burst)
	select w.name, 'declared', w.max_concurrent, w.rate, w.per_seconds, w.burst
	from unnest($1::text[], $2::int[], $3::float8[], $4::float8[], $5::float8[]) w (name, max_concurrent, rate, per_seconds, burst)
	left join tasker.limits l on l.name = any (array[w.name]) and l.origin = 'declared'
	where l.name is null
	or (l.max_concurrent, l.rate, l.per_seconds, l.burst) is distinct from (w.max_concurrent, w.rate, w.per_seconds, w.burst)
	order by w.name
	on conflict (name, origin) do update set max_concurrent = excluded.max_concurrent, rate = excluded.rate,
		per_seconds = excluded.per_seconds, burst = excluded.burst, changed_at = clock_timestamp()`

// DeclareLimits says what templates and batches allow, in the transaction that
// creates the steps: of a name that is declared with other numbers the last ones
// count. What an operator has set goes before.
func DeclareLimits(ctx context.Context, db DB, limits []Limit) error {
	if len(limits) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	queueLimits(b, limits)
	if err := db.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("declare %d limits: %w", len(limits), err)
	}
	return nil
}

// queueLimits declares limits as part of a batch. Of several of one name the last
// counts.
func queueLimits(b *pgx.Batch, limits []Limit) {
	if len(limits) == 0 {
		return
	}
	byName := make(map[string]Limit, len(limits))
	for _, l := range limits {
		byName[l.Name] = l
	}
	limits = slices.SortedFunc(maps.Values(byName), func(a, b Limit) int { return cmp.Compare(a.Name, b.Name) })
	names, concurrent, rates, per, bursts := limitColumns(limits)
	b.Queue(keepLimitsSQL, names)
	b.Queue(declareLimitsSQL, names, concurrent, rates, per, bursts)
}

func limitColumns(limits []Limit) (names []string, concurrent []*int32, rates, per, bursts []*float64) {
	for i := range limits {
		l := &limits[i]
		names, concurrent = append(names, l.Name), append(concurrent, l.MaxConcurrent)
		if l.Rate == 0 {
			rates, per, bursts = append(rates, nil), append(per, nil), append(bursts, nil)
			continue
		}
		period := seconds(l.Per)
		rates, per, bursts = append(rates, &l.Rate), append(per, &period), append(bursts, &l.Burst)
	}
	return names, concurrent, rates, per, bursts
}

// Declared limits that have not changed for so long ($1) and that nobody holds or
// may yet need: no step of an open task names them.
const unusedLimits = `
	l.origin = 'declared' and l.changed_at < now() - make_interval(secs => $1)
	and not exists (select from tasker.limit_slots s where s.name = l.name)
	and not exists (
		select
		from tasker.tasks t
		join tasker.steps s on s.task_id = t.task_id
		cross join lateral unnest(s.gates) g (gate)
		where t.state not in ('complete', 'error', 'cancelled', 'resolved_manually') and s.gates is not null
		and g.gate = '` + limitGate + `' || l.name
	)`

// Who is about to refer to a limit has locked it: it is passed over. Who comes
// later waits and declares it anew.
const lockUnusedLimitsSQL = `
	select l.name
	from tasker.limits l
	where ` + unusedLimits + `
	limit $2
	for update skip locked`

// What was decided before the locks were held is decided again.
const dropUnusedLimitsSQL = `
	with dropped as (
		delete from tasker.limits l
		where l.name = any ($2) and ` + unusedLimits + `
		returning l.name
	), emptied as (
		delete from tasker.limit_buckets b
		using dropped d
		where b.name = d.name
	)
	select count(*) from dropped`

// DropUnusedLimits removes up to most declared limits that have rested for so
// long and that nothing refers to any more, and returns how many. It needs a
// transaction with the planner's own judgement: see [WithPlanner].
func DropUnusedLimits(ctx context.Context, db DB, rest time.Duration, most int) (int, error) {
	rows, _ := db.Query(ctx, lockUnusedLimitsSQL, seconds(rest), most) // CollectRows returns its error
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	dropped := 0
	if err == nil && len(names) > 0 {
		err = db.QueryRow(ctx, dropUnusedLimitsSQL, seconds(rest), names).Scan(&dropped)
	}
	if err != nil {
		return 0, fmt.Errorf("drop unused limits: %w", err)
	}
	return dropped, nil
}

// limited reports whether one of the gates is a limit.
func limited(gates []string) bool {
	return slices.ContainsFunc(gates, func(gate string) bool { return strings.HasPrefix(gate, limitGate) })
}

// limitGate begins the gate of a step that a limit may hold back.
const limitGate = "limit:"
