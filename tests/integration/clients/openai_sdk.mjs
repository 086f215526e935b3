// The official openai SDK for JavaScript.

import OpenAI from "openai";

function client({ url, key, retries, timeout }) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: retries ?? 0, timeout });
}

export async function complete({ server, body }, signal) {
  return await client(server).completions.create(body, { signal });
}

export async function stream({ server, body }, signal, piece) {
  const chunks = await client(server).completions.create({ ...body, stream: true }, { signal });
  for await (const chunk of chunks) piece(chunk);
}

export async function models({ server }) {
  return (await client(server).models.list()).data;
}
