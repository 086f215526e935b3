// A file to type into, with suggestions as an editor would show them, and what the gateway says of them.

import { make, notice } from "./elements.js";
import { events, user } from "./gateway.js";
import { GhostEditor } from "./ghost_editor.js";
import { Reports } from "./reports.js";

const DEBOUNCE_MS = 60;
const EVENTS_SHOWN = 12;
const START = `def total(values):
    result = 0
    for value in values:
        result += value
    return result


def mean(values):
    `;
const SOURCES = { engine: "model", joined: "type-ahead, joined a running answer", memory: "type-ahead, from memory" };

export function show(main, { session, failed }) {
  const place = new Playground(session, failed);
  main.append(...place.parts());
  place.editor.area.focus();
  place.editor.area.setSelectionRange(START.length, START.length);
  return () => place.close();
}

class Playground {
  constructor(session, failed) {
    this.failed = failed;
    this.window = `console-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.shownId = "";
    this.rows = new Map();
    this.extensions = new Map(session.languages.map((row) => [row.name, row.extension]));
    this.language = make("select", { onchange: () => this.soon() },
      session.languages.map((row) => make("option", { value: row.name }, row.name)));
    this.language.value = "python";
    this.model = make("select", { onchange: () => this.soon() },
      make("option", { value: "" }, "by flags"),
      session.models.map((name) => make("option", { value: name }, name)));
    this.lines = make("select", { onchange: () => this.soon() },
      ["", "auto", "single", "multi"].map((name) => make("option", { value: name }, name || "by settings")));
    this.facts = make("dl", { class: "facts" });
    this.log = make("ol", { class: "log", "aria-label": "Events" });
    this.said = make("p", { class: "unseen", role: "status" });
    this.state = make("p", { class: "quiet", "data-state": "" }, "Type, and a suggestion comes.");
    this.reports = new Reports((event, receipt) => this.told(event, receipt));
    this.editor = new GhostEditor("Code", START, {
      edited: () => this.soon(),
      taken: (text, part) => {
        this.reports.accept(part, text.length, this.editor.ghost !== "");
        if (!this.editor.ghost) this.soon();
      },
      left: (explicit) => this.reports.dismiss(explicit),
    });
    this.fill({});
  }

  parts() {
    const act = (text, keys, act) =>
      make("button", { type: "button", onpointerdown: (event) => event.preventDefault(), onclick: act },
        text, " ", make("kbd", {}, keys));
    return [
      make("div", { class: "bar" },
        make("label", {}, "Language ", this.language), make("label", {}, "Model ", this.model),
        make("label", {}, "Lines ", this.lines)),
      make("div", { class: "split" },
        make("div", {}, this.editor.place,
          make("div", { class: "bar", id: "ghost-keys" },
            act("Accept", "Tab", () => this.editor.take("full")),
            act("Word", "Ctrl →", () => this.editor.take("word")),
            act("Dismiss", "Esc", () => this.editor.dismiss(true)),
            act("Ask", "Ctrl Space", () => this.ask()))),
        make("div", { class: "stack" },
          make("section", { class: "card", "aria-label": "Last suggestion" },
            make("h2", {}, "Last suggestion"), this.state, this.facts),
          make("section", { class: "card" }, make("h2", {}, "Reported events"), this.log))),
      this.said,
    ];
  }

  close() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.editor.close();
    this.reports.close();
  }

  /** Ask when the typing rests for a moment; what runs is of no use any more. */
  soon() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.timer = setTimeout(() => this.ask(), DEBOUNCE_MS);
  }

  async ask() {
    const around = this.editor.around();
    if (!around) return;
    this.running?.abort();
    const { signal } = (this.running = new AbortController());
    const begun = performance.now();
    let text = "";
    try {
      for await (const [name, data] of events("v1/suggestions", { body: this.body(around), signal })) {
        if (signal.aborted) return;
        if (name === "piece") {
          text += data.text;
          this.offer(data.id, text, false);
        } else {
          this.offer(data.id, text, true);
          this.fill(data, performance.now() - begun);
        }
      }
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      this.state.textContent = "No suggestion.";
      this.failed(error);
    }
  }

  body({ prefix, suffix }) {
    const language = this.language.value;
    const body = { prefix, suffix, language, path: `playground${this.extensions.get(language)}`, session: this.window };
    if (user.get()) body.user = user.get();
    if (this.model.value) body.model = this.model.value;
    if (this.lines.value) body.eagerness = { lines: this.lines.value };
    return body;
  }

  /** Show what there is so far. What is typed through stays as it is while the answer agrees with it. */
  offer(id, text, done) {
    const { ghost } = this.editor;
    if (id !== this.shownId && ghost && (ghost === text || (!done && ghost.startsWith(text)))) return;
    if (!text || !text.trim()) {
      if (done) this.editor.dismiss(false);
      return;
    }
    if (id !== this.shownId || !ghost) {
      this.editor.dismiss(false);
      this.shownId = id;
      this.reports.show(id);
    }
    this.editor.offer(text);
    if (done) this.said.textContent = `Suggestion: ${text.split("\n")[0]}. Tab accepts, Escape dismisses.`;
  }

  fill(done, roundMs) {
    const took = done.latency_ms;
    const ms = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ms`);
    const choice = done.choices?.[0];
    const variants = Object.entries(done.variants || {}).map((pair) => pair.join("=")).join(", ");
    const rows = {
      "Model": done.model, "Variant": took && (variants || "no flag"),
      "Source": SOURCES[done.source],
      "Total": took && ms(took.total), "First token": took && ms(took.first_token),
      "Wait for a slot": took && ms(took.wait), "Seen here": took && ms(roundMs),
      "Tokens": took && `${done.usage.prompt_tokens} in, ${done.usage.completion_tokens} out`,
      "Confidence": took && (choice.confidence === null ? "not known" : choice.confidence.toFixed(2)),
    };
    this.facts.replaceChildren(...Object.entries(rows).flatMap(([name, value]) =>
      [make("dt", {}, name), make("dd", { "data-fact": name }, value || "–")]));
    if (!took) return;
    this.state.textContent = this.editor.ghost ? "Shown at the cursor." : "Nothing to suggest here.";
    notice("");
  }

  told(event, receipt) {
    let row = this.rows.get(event.id);
    if (!row) {
      const what = { shown: "shown", accepted: `accepted, ${event.part}, ${event.chars} characters`,
        dismissed: event.explicit ? "dismissed" : "typed on" }[event.kind];
      row = make("li", { "data-kind": event.kind }, what, make("span", { class: "quiet" }, ` ${event.shown_ms} ms `));
      row.state = make("span", { class: "receipt" });
      row.append(row.state);
      this.rows.set(event.id, row);
      this.log.prepend(row);
      if (this.log.childElementCount > EVENTS_SHOWN) this.log.lastChild.remove();
    }
    row.state.textContent = receipt || "…";
  }
}
