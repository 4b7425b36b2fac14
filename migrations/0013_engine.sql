-- +goose Up
-- How often a step is tried again whose template does not say: what the worker
-- that registered the definition last is configured to do
-- (worker.system.step_processing.max_retries). It is no part of the definition,
-- whose digest stays.

alter table tasker.templates add column default_retries int;
