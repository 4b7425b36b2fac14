-- +goose Up
-- What a process says of itself with each heartbeat. Whether it is gone follows
-- from when it was last seen.

alter table tasker.workers
    add column process_name text not null default '',
    add column version      text not null default '',    -- of the program
    add column schema       bigint not null default 0,   -- the newest migration that the program knows
    add column state        text not null default 'running' check (state in ('running', 'draining')),
    add column capacity     int not null default 0,      -- how many steps may run at once
    add column running      int not null default 0,      -- how many do
    add column handlers     text[] not null default '{}',
    add column templates    text[] not null default '{}', -- as namespace/name/version
    add column beat_seconds float8 not null default 5;   -- from one heartbeat to the next
