-- +goose Up
-- The tables of Tasker. PostgreSQL 15 or later, no extension.
--
-- What keeps them fast (DESIGN.md, section 5):
--   * no index on steps mentions a column that changes, so every update of a
--     step is HOT; what is ready, leased or due is found through the queues;
--   * the graph lives on the step rows, there is no row per edge;
--   * no foreign key on the hot tables: steps are written only together with
--     their task, and `tasker-cli db check` recounts what a key would enforce.

create schema if not exists tasker;

create type tasker.task_state as enum (
    'pending', 'initializing', 'enqueuing_steps', 'steps_in_process', 'evaluating_results',
    'waiting_for_dependencies', 'waiting_for_retry', 'blocked_by_failures',
    'complete', 'error', 'cancelled', 'resolved_manually'
);

create type tasker.step_state as enum (
    'pending', 'enqueued', 'in_progress', 'enqueued_for_orchestration', 'enqueued_as_error_for_orchestration',
    'waiting_for_retry', 'complete', 'error', 'cancelled', 'resolved_manually'
);

-- A row per definition ever registered. Rows never change: a task keeps the
-- definition it started with. Of several definitions under one version the
-- newest is the one new tasks get.
create table tasker.templates (
    template_id   uuid primary key,
    namespace     text not null,
    name          text not null,
    version       text not null,
    digest        text not null,
    definition    jsonb not null,
    registered_at timestamptz not null default clock_timestamp(),
    unique (namespace, name, version, digest)
);

-- A row per run of a template. The last two bytes of task_id are zero: a step's
-- id is its task's id with the step's ordinal in their place.
create table tasker.tasks (
    task_id        uuid primary key,
    template_id    uuid not null,
    state          tasker.task_state not null,
    context        jsonb not null,
    created_at     timestamptz not null default clock_timestamp(),
    finished_at    timestamptz,                 -- set exactly when the state is final
    troubled       boolean not null default false, -- an attempt at one of its steps has failed
    correlation_id uuid,
    initiator      text,
    source_system  text,
    reason         text,
    tags           text[]
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- The tasks the reconciler looks at.
create index tasks_open on tasker.tasks (task_id)
    where state not in ('complete', 'error', 'cancelled', 'resolved_manually');

-- A row per step of a task.
create table tasker.steps (
    task_id         uuid not null,
    ordinal         int not null,              -- 1, 2, … within the task
    name            text not null,
    state           tasker.step_state not null,
    waiting_on      int not null,              -- dependencies that are not satisfied yet
    depends_on      int[],                     -- ordinals; null: none
    dependents      int[],                     -- ordinals; null: none
    attempt         int not null default 0,    -- attempts begun; a lost lease does not count
    max_attempts    int not null,
    claim           int not null default 0,    -- grows with each claim, never reset: fences late results
    lost            int not null default 0,    -- leases lost
    process_id      uuid,                      -- the process that claimed it last (tasker.workers)
    enqueued_at     timestamptz,
    started_at      timestamptz,
    finished_at     timestamptz,
    next_attempt_at timestamptz,               -- when a waiting_for_retry step is due
    result          jsonb,
    error           jsonb,                     -- {kind, message, permanent} of the last failed attempt
    primary key (task_id, ordinal)
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- A row per attempt that the step row no longer describes: those that failed.
create table tasker.step_attempts (
    task_id     uuid not null,
    ordinal     int not null,
    claim       int not null,
    attempt     int not null,
    process_id  uuid,
    started_at  timestamptz,
    finished_at timestamptz not null,
    error       jsonb not null,
    primary key (task_id, ordinal, claim)
);

-- A row per process that runs or ran a role.
create table tasker.workers (
    process_id   uuid primary key,
    role         text not null check (role in ('orchestration', 'worker', 'combined')),
    worker_id    text not null,
    worker_type  text not null,
    host         text not null,
    pid          int not null,
    namespaces   text[] not null,
    started_at   timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    stopped_at   timestamptz
);

-- Named leases: who may do what only one process may do.
create table tasker.leases (
    name       text primary key,
    process_id uuid not null,
    expires_at timestamptz not null
);

-- The step queues are unlogged, so a crash of the server empties them. This
-- table is emptied with them: a missing row says that they must be rebuilt.
create unlogged table tasker.queue_sentinel (
    present boolean primary key check (present)
);

insert into tasker.queue_sentinel values (true);
