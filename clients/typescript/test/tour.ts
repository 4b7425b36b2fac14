// Calls a server, whose URL is the one argument, and prints what it saw as JSON.
import { connect, must, TaskerError } from "../src/index.ts";

declare const process: { argv: string[]; stdout: { write(text: string): void } };

const tasker = connect({ baseUrl: process.argv[2]! });

const created = await must(tasker.POST("/v1/tasks", {
  body: { namespace: "shapes", name: "diamond", context: { from: "typescript" }, tags: ["ts"], idempotency_key: "tour" },
}));
const again = await must(tasker.POST("/v1/tasks", {
  body: { namespace: "shapes", name: "diamond", context: {}, idempotency_key: "tour" },
}));
const path = { task_uuid: created.task_uuid };
const steps = await must(tasker.GET("/v1/tasks/{task_uuid}/workflow_steps", { params: { path } }));
const found = await must(tasker.GET("/v1/tasks", {
  params: { query: { tags: ["ts"], context: '$.from == "typescript"', state: ["steps_in_process"] } },
}));
await must(tasker.DELETE("/v1/tasks/{task_uuid}", { params: { path, query: { reason: "the tour is over" } } }));
const ended = await must(tasker.GET("/v1/tasks/{task_uuid}", { params: { path, query: { wait: "5s" } } }));
const refused = await must(tasker.POST("/v1/tasks", { body: { namespace: "shapes", name: "square" } })).catch((e: unknown) => e);

process.stdout.write(JSON.stringify({
  same: created.task_uuid === again.task_uuid,
  steps: steps.map((s) => s.name),
  found: found.tasks.map((t) => t.task_uuid === created.task_uuid),
  ended: ended.status,
  refused: refused instanceof TaskerError ? refused.problem.code : String(refused),
}));
