// The loaded models: who has them, how they were judged, and where they come from.

import { make } from "./elements.js";
import { ask } from "./gateway.js";

export function show(main, { failed }) {
  const list = make("div", { class: "stack" });
  main.append(list);
  ask("v1/admin/models")
    .then(({ models, rungs }) => list.replaceChildren(...models.map((model) => card(model, rungs))))
    .catch(failed);
}

function card(model, rungs) {
  return make("article", { class: "card", "data-model": model.name },
    make("div", { class: "flag-head" }, make("h2", {}, model.name), model.default ? make("span", { class: "badge" }, "default") : null),
    ladder(model, rungs),
    make("div", { class: "halves" },
      make("section", {}, make("h3", {}, "Version"), facts({
        "Artifact": model.artifact, "Digest": model.digest.slice(0, 16), "Parameters": count(model.lineage.parameters),
        "Trained on": model.lineage.tokens && `${count(model.lineage.tokens)} tokens`,
        "Context": `${count(model.context)} tokens`, "Vocabulary": count(model.vocabulary), "Prompt": model.fim,
        "Commit": model.lineage.commit?.slice(0, 12),
        "Checks": [model.validation.level, ...(model.validation.checks || [])].filter(Boolean).join(", "),
        "Generated here": `${count(model.generated_tokens)} tokens, ${count(model.cancelled)} requests cancelled`,
      })),
      make("section", {}, make("h3", {}, "pass@k"), scores(model.report))),
    make("details", {}, make("summary", {}, "Lineage"), tree(model.lineage)));
}

/** Where the model stands between nobody and everybody. */
function ladder(model, rungs) {
  const { users } = model;
  const at = users.percent > 0 ? [...rungs].reverse().find((rung) => users.percent >= rung - 1e-6) ?? 0 : users.overrides ? -1 : 0;
  const steps = [[0, "nobody"], [-1, "internal"], ...rungs.map((rung) => [rung, rung === 100 ? "everybody" : `${rung} %`])];
  const reached = steps.findIndex(([rung]) => rung === at);
  const said = users.flag
    ? `${Number(users.percent.toFixed(3))} % of users by chance or default, ${users.overrides} by hand`
      + `${users.targeted ? "; targeting or a layer decides about others" : ""}${users.enabled ? "" : "; the flag is switched off"}`
    : model.default ? "no flag: everybody has the default model" : "no flag: only who asks for it by name";
  return make("div", {}, make("ol", { class: "ladder", "aria-label": "Rollout" }, steps.map(([, name], place) =>
    make("li", { class: place < reached ? "past" : place === reached ? "here" : null, "aria-current": place === reached ? "step" : null }, name))),
    make("p", { class: "quiet" }, said));
}

function scores(report) {
  if (!report) return make("p", { class: "quiet" }, "Not known. Name a run of evalkit in the setting ", make("code", {}, "evals"), ".");
  if (report.fault) return make("p", { class: "fault" }, report.fault);
  const rows = Object.entries(report.languages).flatMap(([language, row]) => Object.entries(row.pass_at_k).map(([k, found]) =>
    make("tr", {}, make("th", { scope: "row" }, language), make("td", {}, `pass@${k}`), make("td", {}, bar(found)),
      make("td", {}, `${share(found.value)} %`), make("td", { class: "quiet" }, `${share(found.low)} to ${share(found.high)} %`),
      make("td", { class: "quiet" }, `${row.tasks} tasks`))));
  return make("div", {}, make("p", { class: "quiet" }, `${report.benchmark}, with 95 % intervals`), make("table", { class: "plain" }, make("tbody", {}, rows)));
}

function bar({ value, low, high }) {
  const part = (className, from, to) => {
    const made = make("span", { class: className });
    made.style.left = `${from * 100}%`;
    made.style.width = `${Math.max(0, to - from) * 100}%`;
    return made;
  };
  return make("span", { class: "score", "aria-hidden": "true" }, part("score-range", low, high), part("score-at", value, value));
}

function share(value) {
  return Number((value * 100).toFixed(1));
}

function facts(rows) {
  return make("dl", { class: "facts" }, Object.entries(rows).filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function count(number) {
  return typeof number === "number" ? number.toLocaleString("en") : undefined;
}

/** Anything out of a manifest, as nested lists. */
function tree(value) {
  if (value === null || typeof value !== "object") return make("span", { class: "mono" }, String(value));
  return make("dl", { class: "tree" }, Object.entries(value).flatMap(([name, inner]) => {
    const nested = inner !== null && typeof inner === "object" && Object.keys(inner).length > 0;
    return [make("dt", {}, nested ? make("details", {}, make("summary", {}, `${name} (${Object.keys(inner).length})`), tree(inner)) : name),
      make("dd", {}, nested ? "" : tree(inner))];
  }));
}
