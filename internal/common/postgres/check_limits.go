package postgres

// limitInvariants tie the slots of limits to the steps that hold them.
var limitInvariants = []Invariant{
	{"I8a", "holds a slot of a limit and is not under way", `
		select l.task_id, l.ordinal
		from tasker.limit_slots l
		left join tasker.steps s on s.task_id = l.task_id and s.ordinal = l.ordinal and s.state in (` + underWay + `)
		where s.task_id is null`},
	{"I8b", "is under way and has no slot of a limit that it passes", `
		select s.task_id, s.ordinal
		from tasker.steps s
		cross join lateral unnest(s.gates) g (gate)
		left join tasker.limit_slots l on '` + limitGate + `' || l.name = g.gate and l.task_id = s.task_id and l.ordinal = s.ordinal
		where s.gates is not null and s.state in (` + underWay + `) and starts_with(g.gate, '` + limitGate + `') and l.name is null`},
	// A limit that was lowered, or set, while steps were under way has more of them
	// for a while. What it let through since then it must have had room for. The
	// minute is for transactions that were under way at the change.
	{"I8c", "is one too many at a limit", `
		select l.task_id, l.ordinal
		from (
			select s.*, row_number() over (partition by s.name order by s.taken_at) as place
			from tasker.limit_slots s
		) l
		join (
			select distinct on (name) name, max_concurrent, changed_at
			from tasker.limits
			order by name, origin desc
		) f on f.name = l.name
		where l.place > f.max_concurrent and l.taken_at > f.changed_at + interval '1 minute'`},
	{"I8d", "waits at a gate and names none", `
		select g.task_id, g.ordinal
		from tasker.gated_steps g
		where cardinality(g.gates) = 0`},
}
