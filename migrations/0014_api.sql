-- +goose Up
-- What lists and searches of tasks go by. Updates of a task that change its
-- state are not HOT anyway, so these are few and narrow.
--
-- The condition on task_id holds for every task. It is there because statements
-- that do not repeat it cannot use the index: the engine's, which have their
-- plans made while tables are small, might read all of one in place of a few rows
-- by the primary key.

-- The tasks of a template in a state, by age: any mix of namespace, template,
-- version and state is a few ranges of it.
create index tasks_template_state on tasker.tasks (template_id, state, task_id)
    where task_id > '00000000-0000-0000-0000-000000000000';

create index tasks_correlation on tasker.tasks (correlation_id, task_id)
    where correlation_id is not null and task_id > '00000000-0000-0000-0000-000000000000';

-- Only tasks that have tags pay for it.
create index tasks_tags on tasker.tasks using gin (tags)
    where tags is not null;
