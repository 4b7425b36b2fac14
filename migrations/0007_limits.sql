-- +goose Up
-- Limits: how many steps of a name may be under way at once, and how many may
-- start in a time. A step names its limits in its gates (limit:NAME) and waits
-- in gated_steps for room at all of them.

-- What is allowed. An operator's row hides the declared one of the same name,
-- which comes from a template or a batch. This table holds no state: those who
-- let steps through only read it, so that whoever writes it, be it in a long
-- transaction, holds up nobody.
create table tasker.limits (
    name           text not null,           -- key:NAME, namespace:NAME or batch:STEP
    origin         text not null check (origin in ('declared', 'operator')),
    max_concurrent int check (max_concurrent >= 0),       -- steps under way at once; null: any number
    rate           float8 check (rate > 0),               -- steps that may start per per_seconds; null: any number
    per_seconds    float8 check (per_seconds > 0),
    burst          float8 check (burst >= 1),             -- steps that may start at once after a pause
    changed_at     timestamptz not null default clock_timestamp(), -- the numbers above
    primary key (name, origin),
    check (max_concurrent is not null or rate is not null),
    check ((rate is null) = (per_seconds is null) and (rate is null) = (burst is null))
);

-- A row per step that is under way and each limit it passed. It goes in the
-- transaction in which the step stops being under way.
create table tasker.limit_slots (
    name     text not null,
    task_id  uuid not null,
    ordinal  int not null,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (name, task_id, ordinal)
) with (autovacuum_vacuum_scale_factor = 0.02);

-- How many steps may start right now under a limit of a rate. A missing row
-- stands for a full bucket.
create table tasker.limit_buckets (
    name        text primary key,
    tokens      float8 not null,
    refilled_at timestamptz not null
) with (fillfactor = 50);

-- The place of a step among those that wait at its gate: the lower, the sooner.
-- A level of priority is worth a minute of waiting, so whatever waits is
-- overtaken only for so long. The epoch of a timestamptz depends on no setting.
create function tasker.gate_place(ready_at timestamptz, priority smallint) returns float8
language sql immutable parallel safe
return extract(epoch from ready_at)::float8 - 60 * priority;

-- The names of gates are compared byte by byte, so that those of limits are a
-- range.
drop index tasker.gated_steps_gate;
create index gated_steps_gate on tasker.gated_steps
    ((gates[1]) collate "C", tasker.gate_place(ready_at, priority), task_id, ordinal);
create index gated_steps_ready on tasker.gated_steps (ready_at);
