-- +goose Up
-- Dead letters, the archive, and who keeps house when.

create type tasker.dlq_reason as enum (
    'staleness_timeout', 'max_retries_exceeded', 'dependency_cycle_detected', 'worker_unavailable', 'manual_dlq'
);

create type tasker.dlq_resolution as enum (
    'pending', 'manually_resolved', 'permanently_failed', 'cancelled', 'requeued'
);

-- A row per investigation. The task stays where it is; its entries outlive it in
-- the archive.
create table tasker.dlq_entries (
    entry_id       uuid primary key,
    task_id        uuid not null,
    template_id    uuid not null,
    original_state tasker.task_state not null,     -- of the task when it was set aside
    reason         tasker.dlq_reason not null,
    entered_at     timestamptz not null default clock_timestamp(),
    resolution     tasker.dlq_resolution not null default 'pending',
    resolved_at    timestamptz,                    -- set exactly when it is not pending
    resolved_by    text,
    notes          text,
    snapshot       jsonb not null,                 -- the task as it was, or its ids only
    metadata       jsonb not null default '{}',
    check ((resolution = 'pending') = (resolved_at is null))
);

-- A task has one open investigation at a time.
create unique index dlq_entries_pending on tasker.dlq_entries (task_id) where resolution = 'pending';
create index dlq_entries_task on tasker.dlq_entries (task_id, entered_at);

-- Whether the dead letter queue has looked at the failure of the task. Whatever
-- changes the state of a task sets it to false, and tasks that failed before
-- there was a dead letter queue are left alone.
alter table tasker.tasks add column examined boolean not null default true;
alter table tasker.tasks alter column examined set default false;

create index tasks_unexamined on tasker.tasks (task_id)
    where state in ('error', 'blocked_by_failures') and not examined;

-- Tasks that ended long ago, as documents: later columns need no change here.
-- What one asks for most are columns of their own.
create table tasker.tasks_archive (
    task_id     uuid primary key,
    template_id uuid not null,
    state       tasker.task_state not null,
    finished_at timestamptz not null,
    archived_at timestamptz not null default clock_timestamp(),
    task        jsonb not null,                    -- the row of tasker.tasks
    events      jsonb,                             -- the rows of tasker.task_events, oldest first
    signals     jsonb                              -- the rows of tasker.signals
);

create table tasker.steps_archive (
    task_id  uuid not null,
    ordinal  int not null,
    step     jsonb not null,                       -- the row of tasker.steps
    attempts jsonb,                                -- the rows of tasker.step_attempts, oldest first
    primary key (task_id, ordinal)
);

-- What is to be done once in a while by one of the orchestrators. A run that its
-- process does not live to end is held until its lease is over and begun anew.
create table tasker.housekeeping (
    job         text primary key,
    process_id  uuid,                              -- who has or had it last
    held_until  timestamptz,                       -- null: nobody runs it
    started_at  timestamptz,                       -- of the last run that began
    last_run_at timestamptz,                       -- when the last run began that ended; null: it is due
    runs        bigint not null default 0,         -- that ended
    report      jsonb                              -- what the last of them did
);
