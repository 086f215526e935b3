// The last two minutes, from the gateway's own counters, asked for once a second.

import { make, notice } from "./elements.js";
import { ask } from "./gateway.js";
import { lines, plot } from "./plot.js";

const EVERY_MS = 1000;
const KEEP_S = 120;
const WINDOW_S = 15; // latency and rates are of so long a time
const FIRST = "tabwright_time_to_first_token_seconds_bucket";
const WHOLE = "tabwright_request_seconds_bucket";

export function show(main, { failed }) {
  const page = new Live();
  main.append(...page.parts);
  page.again();
  let timer = 0;
  let gone = false;
  const look = async () => {
    try {
      if (!document.hidden) page.take(await ask("v1/admin/live"));
      if (page.lost) notice("");
      page.lost = false;
    } catch (error) {
      if (error.status === 401 || error.status === 403) return failed(error);
      page.lost = true;
      notice(error.message, true);
    }
    if (!gone) timer = setTimeout(look, EVERY_MS);
  };
  look();
  return () => {
    gone = true;
    clearTimeout(timer);
  };
}

class Live {
  constructor() {
    this.looks = [];
    this.points = [];
    this.tiles = make("dl", { class: "tiles" });
    this.ended = make("tbody");
    const card = (title, paint, note) => {
      const made = plot(title, paint);
      this.plots.push(made);
      return make("section", { class: "card" }, make("h2", {}, title), made.place, make("p", { class: "quiet" }, note));
    };
    this.plots = [];
    this.parts = [this.tiles, make("div", { class: "halves" },
      card("Latency", (width) => this.draw(width, "ms", [["first", "first token p50", "one"], ["first95", "first token p95", "two"], ["whole", "whole p50", "other"], ["whole95", "whole p95", "three"]], 50),
        `Of the answers of the last ${WINDOW_S} s, from a histogram: a figure is right to its bucket.`),
      card("Answers and cancels", (width) => this.draw(width, "a second", [["answers", "answered", "one"], ["cancels", "cancelled", "other"]], 1),
        `Requests a second, mean of ${WINDOW_S} s.`),
      card("Waste", (width) => this.draw(width, "%", [["waste", "wasted", "other"]], 10),
        "Share of the generated tokens that nobody got: of requests that were ended early, and of speculation."),
      make("section", { class: "card" }, make("h2", {}, "Since the gateway started"),
        make("table", {}, this.ended)))];
  }

  /** Take what was counted; counters that fell mean that the gateway has begun anew. */
  take(counted) {
    const last = this.looks.at(-1);
    if (last && total(counted.tabwright_requests_total) < total(last.tabwright_requests_total)) this.looks = this.points = [];
    this.looks = [...this.looks.filter((look) => look.at > counted.at - WINDOW_S - 1), counted];
    const before = this.looks[0];
    const grown = (name) => difference(counted[name], before[name]);
    const seconds = counted.at - before.at;
    const requests = grown("tabwright_requests_total");
    const tokens = counted.tabwright_generated_tokens_total - before.tabwright_generated_tokens_total;
    const figures = {
      at: counted.at,
      first: quantile(grown(FIRST), 0.5), first95: quantile(grown(FIRST), 0.95),
      whole: quantile(grown(WHOLE), 0.5), whole95: quantile(grown(WHOLE), 0.95),
      answers: seconds ? (requests.ok || 0) / seconds : null,
      cancels: seconds ? total(grown("tabwright_cancels_total")) / seconds : null,
      waste: tokens > 0 ? (100 * total(grown("tabwright_wasted_tokens_total"))) / Math.max(tokens, 1) : null,
    };
    this.points = [...this.points.filter((point) => point.at > counted.at - KEEP_S), figures];
    this.tell(counted, figures);
    this.again();
  }

  again() {
    for (const one of this.plots) one.again();
  }

  tell(counted, figures) {
    const from = counted.tabwright_suggestions_total;
    const asked = total(from);
    const rows = {
      "running": counted.tabwright_admitted, "in line": counted.tabwright_in_line,
      "answers a second": rounded(figures.answers), "first token p50": figures.first === null ? "–" : `${rounded(figures.first)} ms`,
      "first token p95": figures.first95 === null ? "–" : `${rounded(figures.first95)} ms`,
      "from type-ahead": asked ? `${Math.round((100 * (asked - (from.engine || 0))) / asked)} %` : "–",
    };
    this.tiles.replaceChildren(...Object.entries(rows).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { "data-tile": name }, String(value)))));
    const groups = [["requests", counted.tabwright_requests_total], ["cancelled", counted.tabwright_cancels_total],
      ["wasted tokens", counted.tabwright_wasted_tokens_total], ["reports by editors", counted.tabwright_editor_events_total]];
    this.ended.replaceChildren(...groups.map(([name, row]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, total(row).toLocaleString("en")),
      make("td", { class: "quiet" }, Object.entries(row).filter(([, value]) => value).map(([label, value]) => `${value.toLocaleString("en")} ${label}`).join(", ") || "none"))));
  }

  draw(width, unit, wanted, least) {
    const now = this.points.at(-1)?.at ?? 0;
    const series = wanted.map(([key, name, className]) => ({ name, className,
      points: this.points.filter((point) => point[key] !== null).map((point) => [point.at - now, point[key]]) }));
    return lines(width, { series, height: 210,
      x: { label: "seconds ago", from: -KEEP_S, to: 0, ticks: [-120, -90, -60, -30, 0], text: (value) => String(-value) },
      y: { zero: true, least, text: (value) => `${rounded(value)} ${unit === "a second" ? "/s" : unit}` } });
  }
}

function difference(now, before) {
  return Object.fromEntries(Object.entries(now).map(([label, value]) => [label, value - (before[label] || 0)]));
}

function total(row) {
  return Object.values(row).reduce((sum, value) => sum + value, 0);
}

/** In milliseconds, from counts of what was not slower than each bound; null where nothing was counted. */
function quantile(buckets, share) {
  const rows = Object.entries(buckets).map(([le, count]) => [le === "+Inf" ? Infinity : Number(le), count]).sort((a, b) => a[0] - b[0]);
  const all = rows.at(-1)?.[1] || 0;
  if (!all) return null;
  let [low, below] = [0, 0];
  for (const [bound, count] of rows) {
    if (count >= share * all) return (bound === Infinity ? low : low + ((bound - low) * (share * all - below)) / Math.max(1, count - below)) * 1000;
    [low, below] = [bound, count];
  }
  return null;
}

function rounded(value) {
  return value === null ? "–" : Number(value.toFixed(value >= 10 ? 0 : 1));
}
