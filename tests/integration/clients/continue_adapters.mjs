// What Continue speaks to servers with. `model` is an entry of `models:` in its config.yaml.

import { configYamlSchema } from "@continuedev/config-yaml";
import { constructLlmApi } from "@continuedev/openai-adapters";

export async function fim({ model, body }, signal, piece) {
  const asked = { model: model.model, ...body };
  for await (const chunk of constructLlmApi(model).fimStream(asked, signal)) piece(chunk);
}

export async function stream({ model, body }, signal, piece) {
  const asked = { model: model.model, stream: true, ...body };
  for await (const chunk of constructLlmApi(model).completionStream(asked, signal)) piece(chunk);
}

export async function complete({ model, body }, signal) {
  const asked = { model: model.model, stream: false, ...body };
  return await constructLlmApi(model).completionNonStream(asked, signal);
}

export async function models({ model }) {
  return await constructLlmApi(model).list();
}

export function check({ config }) {
  configYamlSchema.parse(config);
  return true;
}
