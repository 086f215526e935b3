// Run one client as a child process of the tests: `node driver.mjs openai_sdk.mjs`.
//
// In, a line each: `{id, func, args}` calls an exported function, `{id, abort: true}` aborts that
// call through the client's own AbortSignal. Out: `{id, piece}` as a stream arrives, and at the end
// `{id, value}` or `{id, error}`.

import { createInterface } from "node:readline";

console.log = console.error; // stdout is the test's; clients print to it

const calls = await import(new URL(process.argv[2], import.meta.url));
const running = new Map();

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function described(error) {
  const { message, status, statusCode, code, param, body } = error;
  return { kind: error.constructor.name, message, status: status ?? statusCode, code, param, body };
}

async function run({ id, func, args }) {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const value = await calls[func](args, controller.signal, (piece) => say({ id, piece }));
    say({ id, value: value ?? null });
  } catch (error) {
    say({ id, error: described(error) });
  } finally {
    running.delete(id);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.abort) running.get(message.id)?.abort();
  else run(message);
}
