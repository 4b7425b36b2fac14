-- +goose Up
-- Schedules start tasks at the times of a cron expression. The row is the truth:
-- whoever locks it when it is due creates the task and moves next_run_at on, in
-- one transaction, so no number of orchestrators starts a run twice.

create table tasker.schedules (
    schedule_id   uuid primary key,
    name          text not null unique,
    namespace     text not null,
    template      text not null,
    version       text,                     -- null: the highest when it fires
    context       jsonb not null,
    time_field    text,                     -- the field of the context that gets the scheduled time; null: none
    priority      smallint not null check (priority between -100 and 100),
    tags          text[],
    cron          text not null,
    time_zone     text not null,            -- as in the IANA database
    overlap       text not null check (overlap in ('skip', 'allow')),
    catch_up      text not null check (catch_up in ('none', 'last', 'all')),
    catch_up_max  int not null,             -- runs that `all` makes up for at once
    catch_up_window_seconds int not null,   -- how late `all` starts a run
    paused        boolean not null,
    next_run_at   timestamptz,              -- null: paused, or no time is left
    last_run_at   timestamptz,              -- the last scheduled time that was dealt with; it only grows
    last_task_id  uuid,                     -- the last task that was created
    last_error    text,                     -- why the last time made no task; null: it made one
    created_at    timestamptz not null default clock_timestamp(),
    updated_at    timestamptz not null default clock_timestamp(), -- by people
    check (not paused or next_run_at is null)
);

create index schedules_due on tasker.schedules (next_run_at);

-- What became of each scheduled time, for the newest of them.
create table tasker.schedule_runs (
    schedule_id   uuid not null references tasker.schedules on delete cascade,
    scheduled_for timestamptz not null,
    manual        boolean not null,         -- an operator asked for it; scheduled_for is when
    outcome       text not null check (outcome in ('created', 'skipped', 'failed')),
    task_id       uuid,
    reason        text,                     -- of a run that was skipped or failed
    at            timestamptz not null default clock_timestamp(),
    primary key (schedule_id, scheduled_for, manual)
);
