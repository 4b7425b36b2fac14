package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// GatesChannel is notified when steps came to wait at limits, or slots came back,
// in a way that no orchestrator learns from its own work.
const GatesChannel = "tasker_gates"

// underWay are the states of steps that hold slots of their limits.
const underWay = `'enqueued', 'in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration'`

// freeSlotsSQL deletes the slots of steps that a part of the statement has taken
// out of work. Steps without gates cost nothing.
func freeSlotsSQL(from string) string {
	return `
		delete from tasker.limit_slots l
		using (select f.task_id, f.ordinal, unnest(f.gates) as gate from ` + from + ` f where f.gates is not null) f
		where l.name = any (array[substr(f.gate, length('` + limitGate + `') + 1)]) and l.task_id = f.task_id and l.ordinal = f.ordinal
		returning f.gate`
}

// releaseSlotsSQL gives back the slots of steps of the tasks $1 that are no longer
// under way. It returns their gates, and those at which steps of the tasks wait.
func releaseSlotsSQL() string {
	return releasing() + `
	select gate from freed
	union
	select g.gates[1] from tasker.gated_steps g where g.task_id = any ($1)`
}

// announceSlotsSQL does so and, instead of returning gates, has orchestrators look
// at all of them.
func announceSlotsSQL() string {
	return releasing() + `
	select pg_notify('` + GatesChannel + `', '')
	where exists (select from freed) or exists (select from tasker.gated_steps g where g.task_id = any ($1))`
}

func releasing() string {
	return `
	with over as (
		select s.task_id, s.ordinal, s.gates
		from tasker.steps s
		where s.task_id = any ($1) and s.gates is not null and s.state not in (` + underWay + `)
	), freed as (` + freeSlotsSQL("over") + `
	)`
}

// Slots whose steps are not under way, or gone. Nothing leaves any; should
// something, the limit would lose them for good.
const dropOrphanSlotsSQL = `
	with orphans as (
		select l.name, l.task_id, l.ordinal
		from tasker.limit_slots l
		where not exists (
			select
			from tasker.steps s
			where s.task_id = any (array[l.task_id]) and s.ordinal = l.ordinal and s.state in (` + underWay + `)
		)
		for update skip locked
	), dropped as (
		delete from tasker.limit_slots l
		using orphans o
		where l.name = any (array[o.name]) and l.task_id = o.task_id and l.ordinal = o.ordinal
		returning l.name
	)
	select distinct '` + limitGate + `' || name from dropped`

// DropOrphanSlots gives back slots whose steps are not under way and returns the
// gates they belong to.
func DropOrphanSlots(ctx context.Context, db DB) ([]string, error) {
	rows, _ := db.Query(ctx, dropOrphanSlotsSQL) // CollectRows returns its error
	gates, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("give back slots without a step under way: %w", err)
	}
	return gates, nil
}

// The gates at which steps wait are found by leaps through the index, whatever
// the number of the steps.
const waitingGatesSQL = `
	with recursive waiting as (
		(
			select g.gates[1] as gate
			from tasker.gated_steps g
			where g.gates[1] collate "C" > $1 and g.gates[1] collate "C" < 'limit;' -- ; follows :
			order by g.gates[1] collate "C"
			limit 1
		)
		union all
		select (
			select g.gates[1]
			from tasker.gated_steps g
			where g.gates[1] collate "C" > w.gate and g.gates[1] collate "C" < 'limit;'
			order by g.gates[1] collate "C"
			limit 1
		)
		from waiting w
		where w.gate is not null
	)
	select gate from waiting where gate is not null limit $2`

// WaitingGates returns up to most limits at which steps wait, in the order of
// their names, from the one that follows after; an empty after begins.
func WaitingGates(ctx context.Context, db DB, after string, most int) ([]string, error) {
	rows, _ := db.Query(ctx, waitingGatesSQL, max(after, limitGate), most) // CollectRows returns its error
	gates, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find the limits at which steps wait: %w", err)
	}
	return gates, nil
}

const readyGatesSQL = `
	select distinct g.gates[1]
	from (
		select g.gates
		from tasker.gated_steps g
		where g.ready_at > clock_timestamp() - make_interval(secs => $1) and g.ready_at <= clock_timestamp()
		order by g.ready_at
		limit $2
	) g`

// ReadyGates returns the gates at which the time of a step has come within the
// last while, looking at up to most steps.
func ReadyGates(ctx context.Context, db DB, last time.Duration, most int) ([]string, error) {
	rows, _ := db.Query(ctx, readyGatesSQL, seconds(last), most) // CollectRows returns its error
	gates, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find the limits at which steps became ready: %w", err)
	}
	return gates, nil
}

const nextReadySQL = `
	select extract(epoch from (
		select g.ready_at from tasker.gated_steps g where g.ready_at > clock_timestamp() order by g.ready_at limit 1
	) - clock_timestamp())::float8`

// NextReady returns how long it is until the time of a step at a gate comes, and
// false when none has one to come.
func NextReady(ctx context.Context, db DB) (time.Duration, bool, error) {
	var wait *float64
	if err := db.QueryRow(ctx, nextReadySQL).Scan(&wait); err != nil {
		return 0, false, fmt.Errorf("find the next step at a gate: %w", err)
	}
	if wait == nil {
		return 0, false, nil
	}
	return duration(*wait), true, nil
}

// duration is what seconds of SQL are in Go, never negative.
func duration(secs float64) time.Duration { return time.Duration(max(0, secs) * float64(time.Second)) }

// Passes are alone: what one decides by, the next finds changed. The lock ends
// with the transaction.
const passAloneSQL = `select pg_advisory_xact_lock(hashtext('tasker.limits'))`

// Of a limit l: the operator's word goes before the declared one.
const limitInForce = `
	select l.*
	from tasker.limits l
	where l.name = a.name
	order by l.origin desc
	limit 1`

// tokensNow is how many steps may start by the rate of limit l.
const tokensNow = `coalesce((
			select least(l.burst, b.tokens + extract(epoch from clock_timestamp() - b.refilled_at)::float8 * l.rate / l.per_seconds)
			from tasker.limit_buckets b
			where b.name = l.name
		), l.burst)`

// ahead is how many more steps may wait for a worker by the rate of limit l. No
// more are let through than may start within a second, or at once: without
// workers the queue would fill with steps that then all start together.
const aheadNow = `(greatest(l.burst, l.rate / l.per_seconds) - (
			select count(*)
			from tasker.limit_slots s
			cross join lateral (
				select
				from tasker.steps t
				where t.task_id = any (array[s.task_id]) and t.ordinal = s.ordinal and t.state = 'enqueued'
				offset 0 -- a look-up per slot
			) t
			where s.name = l.name
		))`

// roomsSQL says how many steps each of the gates lets through now, at most $2. At
// a gate that is no limit everybody waits; a limit that nobody has set lets all
// through.
const roomsSQL = `
	select a.gate, case when a.name is null then 0 else greatest(0, coalesce(least(
			case when l.max_concurrent is not null then
				l.max_concurrent - (select count(*) from tasker.limit_slots s where s.name = l.name)
			end,
			case when l.rate is not null then floor(least(` + tokensNow + `, ` + aheadNow + `)) end,
			$2
		), $2)) end::int as room, l.rate is not null as timed
	from (
		select a.gate, case when starts_with(a.gate, '` + limitGate + `') then substr(a.gate, length('` + limitGate + `') + 1) end as name
		from unnest($1::text[]) a (gate)
	) a
	left join lateral (` + limitInForce + `) l on true`

// candidatesSQL finds the first steps that wait at each gate, $3 times as many
// as it has room for: some may have to wait at other gates.
const candidatesSQL = `
	with rooms as materialized (` + roomsSQL + `
	)
	select r.gate, r.room, r.timed, g.task_id, g.ordinal, g.gates, g.place, t.template_id
	from rooms r
	left join lateral (
		select g.task_id, g.ordinal, g.gates, tasker.gate_place(g.ready_at, g.priority) as place
		from tasker.gated_steps g
		where g.gates[1] collate "C" = r.gate and g.ready_at <= clock_timestamp()
		order by tasker.gate_place(g.ready_at, g.priority), g.task_id, g.ordinal
		limit least(r.room::bigint * $3, $2)
	) g on r.room > 0
	left join tasker.tasks t on t.task_id = any (array[g.task_id])
	limit $2 + cardinality($1::text[])`

// A GatedStep waits at gates and may be next.
type GatedStep struct {
	Task     uuid.UUID
	Ordinal  int32
	Template uuid.UUID
	Gates    []string // it is found at the first
	Place    float64  // the lower, the sooner
}

// A Room is what a gate lets through.
type Room struct {
	Steps int  // now
	Timed bool // it has a rate: more will pass as time goes by
}

// A Look is at the steps that wait at some gates.
type Look struct {
	Gates []string
	Depth int // looks at so many times as many steps as may pass; some may wait at other gates, too
	Most  int // steps to look at
}

// candidates returns what each of the gates lets through now and the steps that
// are next there. It keeps other passes out until the transaction ends.
func candidates(ctx context.Context, tx DB, look Look) (map[string]Room, []GatedStep, error) {
	rooms := make(map[string]Room, len(look.Gates))
	var steps []GatedStep
	b := &pgx.Batch{}
	b.Queue(passAloneSQL)
	b.Queue(candidatesSQL, look.Gates, look.Most, look.Depth).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var gate string
			var room Room
			var task, template *uuid.UUID
			var ordinal *int32
			var place *float64
			var s GatedStep
			if err := rows.Scan(&gate, &room.Steps, &room.Timed, &task, &ordinal, &s.Gates, &place, &template); err != nil {
				return err
			}
			rooms[gate] = room
			if task != nil && template != nil {
				s.Task, s.Ordinal, s.Place, s.Template = *task, *ordinal, *place, *template
				steps = append(steps, s)
			}
		}
		return rows.Err()
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, nil, err
	}
	return rooms, steps, otherRooms(ctx, tx, rooms, steps, look.Most)
}

// otherRooms adds the gates that the steps wait at beside those asked for.
func otherRooms(ctx context.Context, tx DB, rooms map[string]Room, steps []GatedStep, most int) error {
	others := map[string]struct{}{}
	for i := range steps {
		for _, gate := range steps[i].Gates {
			if _, known := rooms[gate]; !known {
				others[gate] = struct{}{}
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	rows, _ := tx.Query(ctx, roomsSQL, slices.Collect(maps.Keys(others)), most) // ForEachRow returns its error
	var gate string
	var room Room
	_, err := pgx.ForEachRow(rows, []any{&gate, &room.Steps, &room.Timed}, func() error {
		rooms[gate] = room
		return nil
	})
	return err
}

// letThroughSQL enqueues steps that still wait at their gates: they take a slot
// at each of their limits, and a token where there is a rate.
func letThroughSQL(queue string) string {
	return fmt.Sprintf(`
	with let as (
		delete from tasker.gated_steps g
		using unnest($1::uuid[], $2::int[]) c (task_id, ordinal)
		where g.task_id = any (array[c.task_id]) and g.ordinal = c.ordinal
		returning g.task_id, g.ordinal, g.gates
	), moved as (
		update tasker.steps s
		set state = 'enqueued', enqueued_at = clock_timestamp(), next_attempt_at = null
		from let
		where s.task_id = any (array[let.task_id]) and s.ordinal = let.ordinal
		and (s.state = 'pending' and s.waiting_on = 0 and not s.held or s.state = 'waiting_for_retry')
		returning s.task_id, s.ordinal, s.claim, s.priority, let.gates
	), taken as (
		insert into tasker.limit_slots (name, task_id, ordinal)
		select substr(g.gate, length('`+limitGate+`') + 1), m.task_id, m.ordinal
		from moved m
		cross join lateral unnest(m.gates) g (gate)
		on conflict do nothing
		returning name
	), spent as (
		insert into tasker.limit_buckets (name, tokens, refilled_at)
		select a.name, `+tokensNow+` - a.n, clock_timestamp()
		from (select name, count(*) as n from taken group by name) a
		cross join lateral (`+limitInForce+`) l
		where l.rate is not null
		on conflict (name) do update set tokens = excluded.tokens, refilled_at = excluded.refilled_at
	), sent as (
		insert into pgmq.%s (msg_id, vt, message) overriding system value
		select %s, clock_timestamp(), jsonb_build_object('task', m.task_id, 'step', m.ordinal, 'claim', m.claim)
		from moved m
	)
	select count(*) from moved`, table(queue), messageID(queue, "m.priority"))
}

// A step waits at the gate that stopped it last, where it is found when that
// one has room.
const parkSQL = `
	update tasker.gated_steps g
	set gates = array_prepend(p.gate, array_remove(g.gates, p.gate))
	from unnest($1::uuid[], $2::int[], $3::text[]) p (task_id, ordinal, gate)
	where g.task_id = any (array[p.task_id]) and g.ordinal = p.ordinal`

// How long it is until limits of a rate at which steps wait let another through:
// until there is a token, or until workers may have taken those let through. A
// limit that is full of running steps is left out: their end is announced.
const tokenWaitsSQL = `
	select w.gate, w.wait
	from (
		select a.gate, case when l.max_concurrent is null
				or l.max_concurrent > (select count(*) from tasker.limit_slots s where s.name = a.name) then
			greatest(0, (1 - ` + tokensNow + `) * l.per_seconds / l.rate,
				case when ` + aheadNow + ` < 1 then greatest(0.1, l.per_seconds / l.rate) end)
			end as wait
		from (select a.gate, substr(a.gate, length('` + limitGate + `') + 1) as name from unnest($1::text[]) a (gate)) a
		cross join lateral (` + limitInForce + `) l
		where l.rate is not null and exists (
			select from tasker.gated_steps g where g.gates[1] collate "C" = a.gate and g.ready_at <= clock_timestamp()
		)
	) w
	where w.wait is not null`

// A Passage is what a pass over some gates decided.
type Passage struct {
	Pass map[string][]GatedStep // by the step queue of their namespace
	Park []Parked
}

// Parked is a step that waits at another gate than it did.
type Parked struct {
	GatedStep

	At string
}

// Passed is what came of a pass.
type Passed struct {
	Steps int                      // let through
	Waits map[string]time.Duration // until a gate of a rate lets more through
}

// LetThrough looks at what waits, has the caller decide, and carries the decision
// out: in one transaction, and one at a time in the whole database. Steps that
// meanwhile wait no more are passed over. Nobody is woken.
func LetThrough(ctx context.Context, pool Pool, look Look, decide func(map[string]Room, []GatedStep) (Passage, error)) (Passed, error) {
	var passed Passed
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		passed = Passed{Waits: map[string]time.Duration{}}
		rooms, steps, err := candidates(ctx, tx, look)
		if err != nil {
			return err
		}
		p, err := decide(rooms, steps)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		queuePass(b, p.Pass, &passed)
		queuePark(b, p.Park)
		queueWaits(b, rooms, &passed)
		if b.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return Passed{}, fmt.Errorf("let steps through %d limits: %w", len(look.Gates), err)
	}
	return passed, nil
}

func queuePass(b *pgx.Batch, pass map[string][]GatedStep, passed *Passed) {
	all := slices.Concat(slices.Collect(maps.Values(pass))...)
	if len(all) == 0 {
		return
	}
	tasks, _ := places(all)
	b.Queue(lockTasksSQL, tasks)
	for queue, steps := range pass {
		tasks, ordinals := places(steps)
		b.Queue(letThroughSQL(queue), tasks, ordinals).QueryRow(func(row pgx.Row) error {
			n := 0
			err := row.Scan(&n)
			passed.Steps += n
			return err
		})
	}
	b.Queue(settleSQL, tasks, []uuid.UUID{})
}

func queueWaits(b *pgx.Batch, rooms map[string]Room, passed *Passed) {
	var timed []string
	for gate, room := range rooms {
		if room.Timed {
			timed = append(timed, gate)
		}
	}
	if len(timed) == 0 {
		return
	}
	b.Queue(tokenWaitsSQL, timed).Query(func(rows pgx.Rows) error {
		var gate string
		var wait float64
		_, err := pgx.ForEachRow(rows, []any{&gate, &wait}, func() error {
			passed.Waits[gate] = duration(wait)
			return nil
		})
		return err
	})
}

func queuePark(b *pgx.Batch, park []Parked) {
	if len(park) == 0 {
		return
	}
	tasks, ordinals, gates := make([]uuid.UUID, len(park)), make([]int32, len(park)), make([]string, len(park))
	for i := range park {
		tasks[i], ordinals[i], gates[i] = park[i].Task, park[i].Ordinal, park[i].At
	}
	b.Queue(parkSQL, tasks, ordinals, gates)
}

func places(steps []GatedStep) (tasks []uuid.UUID, ordinals []int32) {
	tasks, ordinals = make([]uuid.UUID, len(steps)), make([]int32, len(steps))
	for i := range steps {
		tasks[i], ordinals[i] = steps[i].Task, steps[i].Ordinal
	}
	return tasks, ordinals
}
