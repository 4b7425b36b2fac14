-- +goose Up
-- What becomes of tasks, for those who follow all of them. It is noted only
-- while somebody does; after a crash of the server it starts anew.

create table tasker.change_watch (
    one   boolean primary key check (one),
    since xid8 not null,        -- the log is continuous from this transaction on
    until timestamptz not null  -- nobody follows after
);

-- In the order of transactions: see internal/common/postgres/changes.go.
create unlogged table tasker.changes (
    xid     xid8 not null default pg_current_xact_id(),
    n       bigint not null generated always as identity,
    task_id uuid not null,
    kind    text not null,
    state   tasker.task_state not null,
    at      timestamptz not null default clock_timestamp(),
    primary key (xid, n)
);

-- Like tasks_settled, this looks at a table of at most one row unless somebody
-- follows. Only then does it notify, in the transaction that made the change.
-- +goose StatementBegin
create function tasker.tasks_changed() returns trigger language plpgsql
set enable_hashjoin = on as $$
begin
    if not exists (select from tasker.change_watch where until > clock_timestamp()) then
        return null;
    end if;
    insert into tasker.changes (task_id, kind, state)
    select a.task_id, 'task.changed', a.state
    from after_change a
    join before_change b on b.task_id = a.task_id
    where a.state <> b.state;
    if found then
        perform pg_notify('tasker_changes', '');
    end if;
    return null;
end
$$;
-- +goose StatementEnd

create trigger tasks_changed after update on tasker.tasks
    referencing old table as before_change new table as after_change
    for each statement execute function tasker.tasks_changed();

-- +goose StatementBegin
create function tasker.tasks_created() returns trigger language plpgsql as $$
begin
    if not exists (select from tasker.change_watch where until > clock_timestamp()) then
        return null;
    end if;
    insert into tasker.changes (task_id, kind, state)
    select task_id, 'task.created', state from created;
    if found then
        perform pg_notify('tasker_changes', '');
    end if;
    return null;
end
$$;
-- +goose StatementEnd

create trigger tasks_created after insert on tasker.tasks
    referencing new table as created
    for each statement execute function tasker.tasks_created();
