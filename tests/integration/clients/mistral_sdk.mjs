// The official Mistral SDK for JavaScript.

import { Mistral } from "@mistralai/mistralai";

function client({ url, key }) {
  return new Mistral({ serverURL: url, apiKey: key });
}

export async function complete({ server, body }, signal) {
  return await client(server).fim.complete(body, { fetchOptions: { signal } });
}

export async function stream({ server, body }, signal, piece) {
  const events = await client(server).fim.stream(body, { fetchOptions: { signal } });
  for await (const event of events) piece(event.data);
}
