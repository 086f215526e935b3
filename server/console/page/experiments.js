// What an experiment has shown: by day with its band, by language, by editor, and what is left to find.

import { make, notice, table } from "./elements.js";
import { when } from "./flag_card.js";
import { ask } from "./gateway.js";
import { intervals, lines, plot } from "./plot.js";

const DAYS = 14;
const WEEK = 7;
const SURE = 0.05;
const MISMATCH = 0.001; // as in `ab.report`
const UNITS = {
  "acceptance": points, "kept after 10 min": points, "shown per request": points, "explicit dismissals": points,
  "characters per shown": { text: (value) => number(value), unit: "characters" },
  "latency in ms": { text: (value) => number(value), unit: "ms" },
};

export function show(main, { failed }) {
  const page = new Experiments(failed);
  main.append(...page.parts);
  page.begin().catch(failed);
  return () => page.running?.abort();
}

class Experiments {
  constructor(failed) {
    this.failed = failed;
    const today = Date.now();
    const day = (ago) => new Date(today - ago * 86_400_000).toISOString().slice(0, 10);
    this.flag = make("select", { onchange: () => this.variants() });
    this.control = make("select", {});
    this.candidate = make("select", {});
    this.since = make("input", { type: "date", required: true, value: day(DAYS - 1) });
    this.until = make("input", { type: "date", required: true, value: day(0) });
    this.metric = make("select", { onchange: () => this.draw() });
    this.result = make("div", { class: "stack", "aria-live": "polite" });
    this.button = make("button", { type: "submit", class: "main" }, "Compare");
    const form = make("form", { class: "card bar", onsubmit: (event) => { event.preventDefault(); this.load(); } },
      ["Flag", "Control", "Candidate", "Since", "Until"].map((name) => make("label", {}, `${name} `, this[name.toLowerCase()])), this.button);
    this.parts = [form, this.result];
  }

  async begin() {
    const { flags } = await ask("v1/admin/flags");
    this.flags = flags.filter((flag) => Object.keys(flag.variants).length > 1);
    if (!this.flags.length) {
      this.result.replaceChildren(make("p", { class: "card" }, "No flag has two variants that could be compared."));
      this.button.disabled = true;
      return;
    }
    this.flag.replaceChildren(...this.flags.map((flag) => make("option", { value: flag.key }, flag.key)));
    this.flag.value = (this.flags.find((flag) => flag.key === "model") || this.flags[0]).key;
    this.variants();
    await this.load();
  }

  variants() {
    const flag = this.flags.find((one) => one.key === this.flag.value);
    const names = Object.keys(flag.variants);
    for (const choice of [this.control, this.candidate]) choice.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    this.control.value = flag.default_variant;
    this.candidate.value = names.find((name) => name !== flag.default_variant);
  }

  query() {
    const flag = this.flags.find((one) => one.key === this.flag.value);
    const query = new URLSearchParams({ flag: flag.key, control: this.control.value, candidate: this.candidate.value,
      since: this.since.value, until: this.until.value });
    const planned = [planOf(flag, this.control.value), planOf(flag, this.candidate.value)];
    if (planned[0] > 0 && planned[1] > 0) query.set("weights", planned.join(":"));
    return query;
  }

  async load() {
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    this.result.setAttribute("aria-busy", "true");
    this.button.disabled = true;
    notice("Counting …");
    try {
      const query = this.query();
      this.asked = { control: this.control.value, candidate: this.candidate.value };
      const [report, { decisions }] = await Promise.all([
        ask(`v1/admin/report?${query}`, { signal }),
        ask(`v1/admin/decisions?flag=${encodeURIComponent(query.get("flag"))}`, { signal })]);
      notice("");
      this.report = report;
      this.decided = decisions;
      const names = report.rows.map((row) => row.metric);
      const before = this.metric.value;
      this.metric.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
      if (names.includes(before)) this.metric.value = before;
      this.draw();
    } catch (error) {
      if (!signal.aborted) this.failed(error);
    } finally {
      if (!signal.aborted) {
        this.result.removeAttribute("aria-busy");
        this.button.disabled = false;
      }
    }
  }

  draw() {
    const { report } = this;
    const drawn = [];
    const card = (title, ...children) => make("section", { class: "card" }, make("h2", {}, title), ...children.filter(Boolean));
    const picture = (title, paint) => {
      const made = plot(title, paint);
      drawn.push(made);
      return made.place;
    };
    const parts = [card("Users and split", this.split()), card("All metrics", this.table())];
    if (report.rows.length) {
      const name = this.metric.value;
      parts.push(make("div", { class: "bar" }, make("label", {}, "Metric of the plots ", this.metric)),
        card(`${name}: difference over time`, this.overTime(picture, name), this.rest(name)),
        make("div", { class: "halves" },
          card("By language", this.byPart(picture, "languages", name)), card("By editor", this.byPart(picture, "editors", name))));
    }
    parts.push(card("Decisions", this.decisions()));
    this.result.replaceChildren(...parts);
    for (const one of drawn) one.again();
  }

  split() {
    const { users, both, nameless, mismatch_p: p } = this.report;
    const bad = p < MISMATCH;
    return make("dl", { class: "facts" }, ...[
      ["Users", `${users[0]} have ${this.asked.control}, ${users[1]} have ${this.asked.candidate}`],
      ["Left out", `users who had both: ${both}; requests of nobody known: ${nameless}`],
      ["Split", bad ? `Not as planned (p = ${p.toPrecision(2)}): do not believe anything below`
        : `as planned, as far as can be told (sequential test, p = ${p.toPrecision(2)})`],
    ].flatMap(([name, value]) => [make("dt", {}, name), make("dd", { class: name === "Split" ? (bad ? "bad" : "good") : null }, value)]));
  }

  table() {
    const { rows, missing } = this.report;
    const heads = ["Metric", this.asked.control, this.asked.candidate, "Difference", "95 % at every look", "p (Holm)", "Verdict"];
    const body = rows.map((row) => {
      const say = unitOf(row.metric);
      const [verdict, tone] = verdictOf(row);
      return [make("th", { scope: "row" }, row.metric),
        ...[say.text(row.control), say.text(row.candidate), signed(say, row.difference), `${signed(say, row.low)} to ${signed(say, row.high)}`,
          row.holm_p < 0.001 ? "< 0.001" : row.holm_p.toFixed(3)].map((value) => make("td", {}, value)),
        make("td", { class: tone }, verdict)];
    });
    return make("div", {},
      rows.length ? table("All metrics", heads, body) : null,
      rows.length ? make("p", { class: "quiet" }, "The difference is what is left when what the same users did in the days before is taken away.") : null,
      missing.length ? make("p", { class: "quiet" }, `Too little to compare yet: ${missing.join(", ")}.`) : null);
  }

  overTime(picture, name) {
    const say = unitOf(name);
    const points = this.report.details.series[name];
    const place = (point) => (Date.parse(point.day) - Date.parse(points[0].day)) / 86_400_000;
    const days = points.map((point) => point.day);
    const seen = points.map((point) => [place(point), point]);
    const series = [{ name: this.asked.candidate, className: "other",
      points: seen.map(([place, row]) => [place, row.difference]), band: seen.map(([place, row]) => [place, row.low, row.high]) }];
    const last = seen.at(-1)[1];
    const title = `${name} of ${this.asked.candidate} less that of ${this.asked.control}, by day: now ${signed(say, last.difference)}, `
      + `between ${signed(say, last.low)} and ${signed(say, last.high)}`;
    return make("div", {}, picture(title, (width) => lines(width, { series, height: 280,
      x: { label: "last day counted (UTC)", from: 0, to: Math.max(1, seen.at(-1)[0]), ticks: seen.map(([at]) => at), text: (at) => shortDay(days[seen.findIndex((one) => one[0] === at)]) },
      y: { label: "", zero: true, text: (value) => signed(say, value) } })),
      make("p", { class: "quiet" }, `Above zero ${this.asked.candidate} has more. The band holds at every look: it may be looked at daily.`
        + (say.unit ? ` In ${say.unit}.` : " Points are percentage points.")));
  }

  rest(name) {
    const say = unitOf(name);
    const points = this.report.details.series[name];
    const size = (point) => signed(say, point.finds).replace("+", "±");
    const before = points[Math.max(0, points.length - 1 - WEEK)];
    const trend = points.length > 1 ? ` On ${shortDay(before.day)} it was ${size(before)}: what further days take off becomes less, more users take off more.` : "";
    return make("p", {}, make("b", {}, "Power left: "), `a difference of ${size(points.at(-1))} would be found by now in 4 of 5 experiments.${trend}`);
  }

  byPart(picture, part, name) {
    const say = unitOf(name);
    const rows = this.report.details[part].filter((row) => row.metric === name)
      .map((row) => ({ name: row.group, value: row.difference, low: row.low, high: row.high, shrunken: row.shrunken, sure: row.holm_p < SURE,
        note: `${signed(say, row.difference)} (${row.users[0]} and ${row.users[1]} users)` }));
    if (!rows.length) return make("p", { class: "quiet" }, "Too little to compare yet.");
    const title = `${name}, difference: ${rows.map((row) => `${row.name} ${row.note}`).join("; ")}`;
    return make("div", {}, picture(title, (width) => intervals(width, { rows, label: `difference of ${name}`, text: (value) => signed(say, value) })),
      make("p", { class: "quiet" }, "Coloured is what stays certain when asked of all groups and metrics (Holm). ◇ is the difference in the light of the other groups."));
  }

  decisions() {
    if (!this.decided.length) return make("p", { class: "quiet" }, "None yet: tabwright ab gate, promote and watch make them.");
    const tones = { PROMOTE: "good", ROLL_BACK: "bad" };
    return table("Decisions", ["When", "Candidate", "Verdict", "Who", "Why", "Id"],
      this.decided.slice(0, 20).map((row) => [make("td", {}, when(row.at)), make("td", {}, row.candidate),
        make("td", { class: tones[row.verdict] }, row.verdict), make("td", {}, row.who), make("td", {}, row.why), make("td", { class: "mono" }, row.id.slice(0, 8))]));
  }
}

/** Users a variant is planned to have by chance, in thousandths of a percent. */
function planOf(flag, name) {
  const { rollout } = flag;
  const rest = name === flag.default_variant ? 100_000 - (rollout?.share || 0) : 0;
  const total = Object.values(rollout?.arms || {}).reduce((sum, weight) => sum + weight, 0);
  return rest + (total ? (rollout.share * (rollout.arms[name] || 0)) / total : 0);
}

function verdictOf(row) {
  const less = row.metric === "latency in ms" || row.metric === "explicit dismissals";
  if (row.low <= 0 && row.high >= 0) return ["undecided", "quiet"];
  return row.difference > 0 !== less ? ["better", "good"] : ["worse", "bad"];
}

function unitOf(name) {
  const unit = UNITS[name] || points;
  return typeof unit === "function" ? unit() : unit;
}

function points() {
  return { text: (value) => `${number(value * 100)} %`, unit: "", points: true };
}

function signed(say, value) {
  const shown = say.points ? `${number(value * 100)} pt` : say.text(value);
  return value > 0 && !/^0( |$)/.test(shown) ? `+${shown}` : shown.replace("-", "−");
}

function number(value) {
  const size = Math.abs(value);
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

function shortDay(day) {
  return day ? new Date(`${day}T00:00Z`).toLocaleDateString([], { day: "numeric", month: "short", timeZone: "UTC" }) : "";
}
