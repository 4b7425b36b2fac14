-- +goose Up
-- Two more things that a schedule may do while the task it created last has not
-- ended: keep the time and start its task when the other has ended, or cancel the
-- other.

alter table tasker.schedules
    drop constraint schedules_overlap_check,
    add constraint schedules_overlap_check check (overlap in ('skip', 'allow', 'buffer_one', 'cancel_other')),
    add column buffered_for timestamptz; -- the time that waits for the last task to end; null: none does

create index schedules_buffered on tasker.schedules (last_task_id) where buffered_for is not null;

-- However the task ends, by an orchestrator, an operator or housekeeping, who
-- fires schedules is told. That the initiator looks like a schedule only saves
-- others the look.
-- +goose StatementBegin
create function tasker.scheduled_task_ended() returns trigger language plpgsql as $f$
begin
    if exists (select from tasker.schedules s where s.last_task_id = new.task_id and s.buffered_for is not null) then
        perform pg_notify('tasker_schedules', '');
    end if;
    return null;
end $f$;
-- +goose StatementEnd

create trigger scheduled_task_ended after update of finished_at on tasker.tasks
    for each row when (old.finished_at is null and new.finished_at is not null and new.initiator like 'schedule %')
    execute function tasker.scheduled_task_ended();
