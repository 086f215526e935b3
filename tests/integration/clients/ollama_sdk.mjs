// The official ollama client for JavaScript.

import { Ollama } from "ollama";

function client({ url, key }) {
  return new Ollama({ host: url, headers: { Authorization: `Bearer ${key}` } });
}

export async function complete({ server, body }) {
  return await client(server).generate({ ...body, stream: false });
}

export async function stream({ server, body }, signal, piece) {
  const answer = await client(server).generate({ ...body, stream: true });
  signal.addEventListener("abort", () => answer.abort());
  for await (const part of answer) piece(part);
}

export async function show({ server, name }) {
  return await client(server).show({ model: name });
}
