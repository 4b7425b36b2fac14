-- +goose Up
-- What a task belongs to in traces: a W3C traceparent and, after a space, the
-- tracestate. Null where nobody traces, or where the task begins its trace.

alter table tasker.tasks add column trace_context text;
