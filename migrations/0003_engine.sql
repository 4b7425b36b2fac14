-- +goose Up
-- What the engine needs beyond plain graphs: priorities, delayed starts, steps
-- that wait for a limit or a signal, paused tasks, steps that come to exist at
-- run time, and a record of what operators did.

alter table tasker.tasks
    add column priority              smallint not null default 0 check (priority between -100 and 100),
    add column run_at                timestamptz,  -- no step starts before; null: at once
    add column identity              bytea,        -- SHA-256 of what makes the task the same as another; null: nothing does
    add column paused_at             timestamptz,  -- null: not paused
    add column parent_correlation_id uuid;

create unique index tasks_identity on tasker.tasks (identity) where identity is not null;

alter table tasker.steps
    add column priority   smallint not null default 0, -- of its task
    add column held       boolean not null default false, -- the task is paused: nothing starts
    add column tolerated  boolean not null default false, -- its failure keeps no other step from running
    add column depth      smallint not null default 0,    -- decisions above it
    add column gates      text[],                      -- what it passes before it is enqueued: limit:NAME, signal:NAME; null: nothing
    add column patience   int,                         -- seconds it waits at its gates before it fails; null: as long as it takes
    add column definition text,                        -- the step of the template it is a copy of; null: the one of its name
    add column input      jsonb,                       -- of a batch worker: its cursor
    add column checkpoint jsonb;                       -- what its handler saved to go on from

-- Steps whose dependencies are satisfied and that wait at a gate. Such a step is
-- pending, or waiting_for_retry, and has no message.
create table tasker.gated_steps (
    task_id  uuid not null,
    ordinal  int not null,
    gates    text[] not null,
    priority smallint not null,
    ready_at timestamptz not null, -- it may pass from then on
    due_at   timestamptz,          -- it fails then; null: it waits for as long as it takes
    primary key (task_id, ordinal)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);

create index gated_steps_gate on tasker.gated_steps ((gates[1]), priority desc, task_id, ordinal);
create index gated_steps_due on tasker.gated_steps (due_at) where due_at is not null;

-- Signals that arrived, also before a step began to wait for them. The first of
-- a name counts.
create table tasker.signals (
    task_id uuid not null,
    name    text not null,
    payload jsonb not null,
    sent_at timestamptz not null default clock_timestamp(),
    sender  text,
    primary key (task_id, name)
);

-- What operators did to tasks and steps, and what else is worth an audit.
create table tasker.task_events (
    event_id bigint primary key generated always as identity,
    task_id  uuid not null,
    ordinal  int,                -- null: the task itself
    kind     text not null,
    actor    text,
    reason   text,
    detail   jsonb,
    at       timestamptz not null default clock_timestamp()
);

create index task_events_task on tasker.task_events (task_id, event_id);
