-- +goose Up
-- The migration that a program must know to work on this database. It grows with
-- a migration that takes away what older programs use (migrations/floor.go).
create table tasker.schema_floor (
    version bigint not null
);

insert into tasker.schema_floor values (0);
