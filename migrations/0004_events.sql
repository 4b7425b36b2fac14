-- +goose Up
-- Events that leave Tasker: domain events on their way from a worker to the queue
-- of their namespace, and webhooks.

alter table tasker.steps
    add column events jsonb; -- domain events that follow once the reported outcome is applied; null: none

-- Where to send word of what becomes of tasks.
create table tasker.webhooks (
    webhook_id uuid primary key,
    url        text not null,
    secret     text not null,     -- whsec_ and the key in base64
    events     text[] not null check (cardinality(events) > 0),
    namespace  text,              -- of the template; null: any
    template   text,              -- its name; null: any
    created_at timestamptz not null default clock_timestamp()
);

-- A row per event and webhook, from the transaction in which the event happened
-- until some days after it was delivered or given up.
create table tasker.webhook_deliveries (
    delivery_id uuid primary key default gen_random_uuid(),
    webhook_id  uuid not null references tasker.webhooks on delete cascade,
    task_id     uuid not null,
    event       text not null,
    payload     jsonb not null,            -- the body, the same in every attempt
    state       text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    attempts    int not null default 0,    -- that have ended
    claim       int not null default 0,    -- grows with each claim: fences late answers
    due_at      timestamptz not null,      -- of the next attempt; while one runs, the end of its lease
    created_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz,               -- set exactly when the state is not pending
    status      int,                       -- of the last answer; null: there was none
    error       text                       -- why the last attempt failed
);

create index webhook_deliveries_due on tasker.webhook_deliveries (due_at) where state = 'pending';
create index webhook_deliveries_webhook on tasker.webhook_deliveries (webhook_id, created_at desc);
create index webhook_deliveries_finished on tasker.webhook_deliveries (finished_at) where finished_at is not null;

-- enqueue_deliveries notes that an event has happened to tasks, for the webhooks
-- that want to know. Call it in the transaction in which it happens: then the
-- delivery exists exactly if the event does.
-- +goose StatementBegin
create function tasker.enqueue_deliveries(happened text, tasks uuid[]) returns void language sql
set enable_hashjoin = on set enable_seqscan = on as $$
    insert into tasker.webhook_deliveries (webhook_id, task_id, event, due_at, payload)
    select w.webhook_id, t.task_id, happened, clock_timestamp(), jsonb_strip_nulls(jsonb_build_object(
        'type', happened,
        'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'data', jsonb_build_object(
            'task_uuid', t.task_id,
            'namespace', p.namespace,
            'name', p.name,
            'version', p.version,
            'status', t.state,
            'created_at', t.created_at,
            'completed_at', t.finished_at,
            'correlation_id', t.correlation_id,
            'initiator', t.initiator,
            'source_system', t.source_system,
            'tags', to_jsonb(t.tags),
            'failed_steps', (
                select jsonb_agg(jsonb_build_object('name', s.name, 'attempts', s.attempt,
                    'kind', s.error->>'kind', 'message', s.error->>'message') order by s.ordinal)
                from tasker.steps s
                where s.task_id = t.task_id and s.state = 'error'
            )
        )
    ))
    from tasker.tasks t
    join tasker.templates p on p.template_id = t.template_id
    join tasker.webhooks w on happened = any (w.events)
        and (w.namespace is null or w.namespace = p.namespace) and (w.template is null or w.template = p.name)
    where t.task_id = any (tasks)
$$;
-- +goose StatementEnd

-- Tasks come to rest in many ways; a delivery must not depend on each of them
-- remembering. Without webhooks this looks at an empty table, once per
-- statement.
-- +goose StatementBegin
create function tasker.tasks_settled() returns trigger language plpgsql
set enable_hashjoin = on as $$
begin
    if not exists (select from tasker.webhooks) then
        return null;
    end if;
    perform tasker.enqueue_deliveries(s.event, array_agg(s.task_id order by s.task_id))
    from (
        select a.task_id, case a.state
            when 'complete' then 'task.completed'
            when 'error' then 'task.failed'
            when 'blocked_by_failures' then 'task.blocked_by_failures'
            when 'cancelled' then 'task.cancelled'
            when 'resolved_manually' then 'task.resolved_manually'
        end as event
        from after_change a
        join before_change b on b.task_id = a.task_id
        where a.state <> b.state
    ) s
    where s.event is not null
    group by s.event;
    return null;
end
$$;
-- +goose StatementEnd

create trigger tasks_settled after update on tasker.tasks
    referencing old table as before_change new table as after_change
    for each statement execute function tasker.tasks_settled();
