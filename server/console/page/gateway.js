// Asks the gateway that served the page, with the key that the person gave.

const KEY = "tabwright-key";
const USER = "tabwright-user";
const ROOT = new URL("../", import.meta.url);

export class Refused extends Error {
  constructor(status, said) {
    super(said.detail || `the gateway answered ${status}`);
    this.status = status;
    this.code = said.code || "";
    this.said = said;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

export const user = {
  get: () => sessionStorage.getItem(USER) || "",
  set: (text) => sessionStorage.setItem(USER, text),
};

/** Ask for JSON; `body` makes it a POST. Throws `Refused`, whose message says what to do. */
export async function ask(path, { body, signal, as = "" } = {}) {
  return (await request(path, { body, signal, as })).json();
}

/** Yield the named events of a stream: [name, data]. */
export async function* events(path, { body, signal }) {
  const answer = await request(path, { body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(block);
      if (name === "error") throw new Refused(200, JSON.parse(data));
      yield [name, JSON.parse(data)];
    }
  }
}

/** Send once more while the page goes away; nobody waits for the answer. */
export function sendLast(path, body) {
  fetch(new URL(path, ROOT), { ...options(body, ""), keepalive: true }).catch(() => {});
}

async function request(path, { body, signal, as }) {
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), { ...options(body, as), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "the gateway does not answer; is it running?" });
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said);
}

function options(body, as) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  if (as) headers["X-Tabwright-User"] = as;
  if (body === undefined) return { headers };
  headers["Content-Type"] = "application/json";
  return { method: "POST", headers, body: JSON.stringify(body) };
}
