-- +goose Up
-- What operators do to many tasks at once. Orchestrators work an operation off
-- in batches, one of them at a time, in the order of task ids.
create table tasker.operations (
    operation_id uuid primary key,
    kind         text not null check (kind in ('cancel', 'retry', 'resolve')),
    filter       jsonb not null,              -- which tasks; read again with each batch
    actor        text,
    reason       text,
    matched      bigint not null,             -- tasks that matched at the start
    done         bigint not null default 0,   -- tasks dealt with
    failed       bigint not null default 0,   -- tasks that could not be
    last_error   text,                        -- why the last of those could not
    after_task   uuid,                        -- all up to this one are dealt with; null: none is
    created_at   timestamptz not null default clock_timestamp(),
    started_at   timestamptz,
    finished_at  timestamptz
);

create index operations_open on tasker.operations (created_at) where finished_at is null;
