-- +goose Up
-- Tasks that came through the request queue and have no steps yet.

create index tasks_initializing on tasker.tasks (task_id) where state = 'initializing';
