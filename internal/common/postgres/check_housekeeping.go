package postgres

// housekeepingInvariants are about dead letters and the archive.
var housekeepingInvariants = []Invariant{
	{"I7a", "is in the dead letter queue and neither among the tasks nor in the archive", `
		select e.task_id, null::int
		from tasker.dlq_entries e
		where not exists (select from tasker.tasks t where t.task_id = e.task_id)
		and not exists (select from tasker.tasks_archive a where a.task_id = e.task_id)`},
	{"I7b", "is archived and still among the tasks, or archived while under investigation", `
		select a.task_id, null::int
		from tasker.tasks_archive a
		where exists (select from tasker.tasks t where t.task_id = a.task_id)
		or exists (select from tasker.dlq_entries e where e.task_id = a.task_id and e.resolution = 'pending')`},
	{"I7c", "is archived without its task, or left behind by a task that is archived", `
		select s.task_id, s.ordinal
		from tasker.steps_archive s
		where not exists (select from tasker.tasks_archive a where a.task_id = s.task_id)
		union all
		select s.task_id, s.ordinal
		from tasker.tasks_archive a
		join tasker.steps s on s.task_id = a.task_id`},
}
