-- +goose Up
-- With RabbitMQ the queues of steps stay the ledger of what is due and who holds it;
-- what was published says so in its message. Orchestrators look for the rest through
-- an index that only installations with RabbitMQ have.

-- +goose StatementBegin
create function tasker.prepare_dispatch(queue_name text) returns void language plpgsql as $f$
declare
    index_name text := 'q_' || queue_name || '_unsent';
begin
    if to_regclass(format('pgmq.%I', index_name)) is not null then
        return; -- create index would lock the table before it looked
    end if;
    -- Two processes may come at once.
    perform pg_advisory_xact_lock(hashtext('tasker.prepare_dispatch'), hashtext(queue_name));
    execute format('create index if not exists %I on pgmq.%I (vt) where not message ? ''sent''', index_name, 'q_' || queue_name);
end $f$;
-- +goose StatementEnd

-- What came from RabbitMQ and was stored: a message whose acknowledgement was lost
-- comes again and is known by its id. Kept for a day.
create table tasker.broker_messages (
    queue       text not null,
    message_id  text not null,
    received_at timestamptz not null default now(),
    primary key (queue, message_id)
);
