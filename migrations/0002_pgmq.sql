-- +goose Up
-- Queues with the table layout and the SQL API of PGMQ. The extension is used
-- where the server offers it; everywhere else these functions stand in for it.

-- +goose StatementBegin
do $$
begin
    if exists (select 1 from pg_available_extensions where name = 'pgmq') then
        begin
            create extension if not exists pgmq;
        exception when insufficient_privilege then
            raise notice 'pgmq is available and may not be created by this role: using plain SQL';
        end;
    end if;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
do $install$
begin
if exists (select 1 from pg_extension where extname = 'pgmq') then
    return;
end if;

create schema if not exists pgmq;

create table if not exists pgmq.meta (
    queue_name     text unique not null,
    is_partitioned boolean not null,
    is_unlogged    boolean not null,
    created_at     timestamptz not null default now()
);

create type pgmq.message_record as (
    msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb
);

create type pgmq.queue_record as (
    queue_name text, is_partitioned boolean, is_unlogged boolean, created_at timestamptz
);

create type pgmq.metrics_result as (
    queue_name text, queue_length bigint, newest_msg_age_sec int, oldest_msg_age_sec int,
    total_messages bigint, scrape_time timestamptz, queue_visible_length bigint
);

-- check_name refuses what would not make a table name.
create function pgmq.check_name(queue_name text) returns text language plpgsql immutable as $f$
begin
    if queue_name !~ '^[a-z0-9_]{1,47}$' then
        raise exception 'queue name % must be 1 to 47 characters of a-z, 0-9 and _', quote_literal(queue_name)
            using errcode = 'invalid_parameter_value';
    end if;
    return queue_name;
end $f$;

create function pgmq.make(queue_name text, unlogged boolean) returns void language plpgsql as $f$
begin
    perform pgmq.check_name(queue_name);
    -- Two processes may create the same queue at once.
    perform pg_advisory_xact_lock(hashtext('pgmq.make'), hashtext(queue_name));
    if exists (select 1 from pgmq.meta m where m.queue_name = make.queue_name) then
        return;
    end if;
    execute format(
        'create %s table pgmq.%I (
            msg_id bigint primary key generated always as identity,
            read_ct int not null default 0,
            enqueued_at timestamptz not null default now(),
            vt timestamptz not null,
            message jsonb,
            headers jsonb
        ) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_cost_delay = 0)',
        case when unlogged then 'unlogged' else '' end, 'q_' || queue_name);
    execute format('create index %I on pgmq.%I (vt)', 'q_' || queue_name || '_vt_idx', 'q_' || queue_name);
    execute format(
        'create table pgmq.%I (
            msg_id bigint primary key,
            read_ct int not null default 0,
            enqueued_at timestamptz not null default now(),
            archived_at timestamptz not null default now(),
            vt timestamptz not null,
            message jsonb,
            headers jsonb
        )', 'a_' || queue_name);
    insert into pgmq.meta (queue_name, is_partitioned, is_unlogged) values (queue_name, false, unlogged);
end $f$;

create function pgmq."create"(queue_name text) returns void language sql as
    'select pgmq.make(queue_name, false)';

create function pgmq.create_non_partitioned(queue_name text) returns void language sql as
    'select pgmq.make(queue_name, false)';

create function pgmq.create_unlogged(queue_name text) returns void language sql as
    'select pgmq.make(queue_name, true)';

create function pgmq.drop_queue(queue_name text) returns boolean language plpgsql as $f$
begin
    delete from pgmq.meta m where m.queue_name = pgmq.check_name(drop_queue.queue_name);
    if not found then
        return false;
    end if;
    execute format('drop table if exists pgmq.%I, pgmq.%I', 'q_' || queue_name, 'a_' || queue_name);
    return true;
end $f$;

create function pgmq.list_queues() returns setof pgmq.queue_record language sql stable as
    'select queue_name, is_partitioned, is_unlogged, created_at from pgmq.meta order by queue_name';

create function pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamptz) returns setof bigint language plpgsql as $f$
begin
    return query execute format(
        'insert into pgmq.%I (vt, message) select $2, m from unnest($1) with ordinality u(m, n) order by n returning msg_id',
        'q_' || pgmq.check_name(queue_name)) using msgs, delay;
end $f$;

create function pgmq.send_batch(queue_name text, msgs jsonb[], delay int default 0) returns setof bigint language sql as
    'select pgmq.send_batch(queue_name, msgs, clock_timestamp() + make_interval(secs => delay))';

create function pgmq.send(queue_name text, msg jsonb, delay timestamptz) returns setof bigint language sql as
    'select pgmq.send_batch(queue_name, array[msg], delay)';

create function pgmq.send(queue_name text, msg jsonb, delay int default 0) returns setof bigint language sql as
    'select pgmq.send_batch(queue_name, array[msg], clock_timestamp() + make_interval(secs => delay))';

create function pgmq.read(queue_name text, vt int, qty int) returns setof pgmq.message_record language plpgsql as $f$
begin
    return query execute format(
        'with due as (
            select msg_id from pgmq.%1$I where vt <= clock_timestamp() order by msg_id limit $2 for update skip locked
        )
        update pgmq.%1$I q set vt = clock_timestamp() + make_interval(secs => $1), read_ct = q.read_ct + 1
        from due where q.msg_id = due.msg_id
        returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers',
        'q_' || pgmq.check_name(queue_name)) using vt, qty;
end $f$;

create function pgmq.pop(queue_name text) returns setof pgmq.message_record language plpgsql as $f$
begin
    return query execute format(
        'with due as (
            select msg_id from pgmq.%1$I where vt <= clock_timestamp() order by msg_id limit 1 for update skip locked
        )
        delete from pgmq.%1$I q using due where q.msg_id = due.msg_id
        returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers',
        'q_' || pgmq.check_name(queue_name));
end $f$;

create function pgmq.set_vt(queue_name text, msg_id bigint, vt int) returns setof pgmq.message_record language plpgsql as $f$
begin
    return query execute format(
        'update pgmq.%I q set vt = clock_timestamp() + make_interval(secs => $2) where q.msg_id = $1
        returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers',
        'q_' || pgmq.check_name(queue_name)) using msg_id, vt;
end $f$;

create function pgmq.delete(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql as $f$
begin
    return query execute format('delete from pgmq.%I q where q.msg_id = any($1) returning q.msg_id',
        'q_' || pgmq.check_name(queue_name)) using msg_ids;
end $f$;

create function pgmq.delete(queue_name text, msg_id bigint) returns boolean language sql as
    'select exists (select 1 from pgmq.delete(queue_name, array[msg_id]))';

create function pgmq.archive(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql as $f$
begin
    return query execute format(
        'with gone as (
            delete from pgmq.%I q where q.msg_id = any($1)
            returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers
        )
        insert into pgmq.%I (msg_id, read_ct, enqueued_at, vt, message, headers) select * from gone
        returning msg_id',
        'q_' || pgmq.check_name(queue_name), 'a_' || queue_name) using msg_ids;
end $f$;

create function pgmq.archive(queue_name text, msg_id bigint) returns boolean language sql as
    'select exists (select 1 from pgmq.archive(queue_name, array[msg_id]))';

create function pgmq.purge_queue(queue_name text) returns bigint language plpgsql as $f$
declare
    purged bigint;
begin
    execute format('delete from pgmq.%I', 'q_' || pgmq.check_name(queue_name));
    get diagnostics purged = row_count;
    return purged;
end $f$;

create function pgmq.metrics(queue_name text) returns pgmq.metrics_result language plpgsql as $f$
declare
    result pgmq.metrics_result;
begin
    execute format(
        'select $1::text, count(*),
            extract(epoch from clock_timestamp() - max(enqueued_at))::int,
            extract(epoch from clock_timestamp() - min(enqueued_at))::int,
            coalesce((select last_value from pg_sequences where schemaname = ''pgmq'' and sequencename = $2), 0),
            clock_timestamp(), count(*) filter (where vt <= clock_timestamp())
        from pgmq.%I', 'q_' || pgmq.check_name(queue_name))
        using queue_name, 'q_' || queue_name || '_msg_id_seq' into result;
    return result;
end $f$;

create function pgmq.metrics_all() returns setof pgmq.metrics_result language sql as
    'select (pgmq.metrics(queue_name)).* from pgmq.meta';
end
$install$;
-- +goose StatementEnd
