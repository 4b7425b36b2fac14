// A typed client of Tasker's HTTP API. What it can call, and with what, comes from
// the server's OpenAPI document: see api.gen.ts, which is generated.
import createClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./api.gen.ts";

export type { components, paths };
export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];

/** What the server refused, by its code. */
export class TaskerError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail} (request ${problem.request_id})`);
    this.name = "TaskerError";
    this.problem = problem;
  }
}

export interface Options extends ClientOptions {
  /** Such as http://127.0.0.1:8080. */
  baseUrl: string;
  /** Sent as X-API-Key. */
  apiKey?: string;
  /** Sent as Authorization: Bearer. */
  token?: string;
}

/** Returns a client; every call resolves to { data } or { error }, a Problem. */
export function connect({ apiKey, token, ...options }: Options): Client<paths> {
  const client = createClient<paths>(options);
  client.use({
    onRequest({ request }) {
      if (apiKey) request.headers.set("X-API-Key", apiKey);
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });
  return client;
}

/** Unwraps an answer: its data, or a TaskerError is thrown. */
export async function must<T>(answer: Promise<{ data?: T; error?: Problem | undefined }>): Promise<T> {
  const { data, error } = await answer;
  if (error) throw new TaskerError(error);
  return data as T;
}
