// One flag: switch, default, rollout, overrides, history, and the reason that every change needs.

import { make } from "./elements.js";
import { changeOf, differences, edited, parsedRule, percent, thousandths } from "./flag_edits.js";
import { ask, user } from "./gateway.js";

const WHOLE = 100_000;

export class FlagCard {
  constructor(flag) {
    this.flag = flag;
    this.edits = {};
    this.conflict = "";
    this.fault = "";
    this.why = "";
    this.reshuffle = false;
    this.id = `flag-${flag.key.replace(/[^\w-]/g, "_")}`;
    this.place = make("article", { class: "card flag", "aria-labelledby": this.id, "data-flag": flag.key });
    this.history = make("details", { ontoggle: () => this.history.open && this.tell() }, make("summary", {}, "History"));
    this.draw();
  }

  /** Take up what the store says now, unless something is being edited. */
  update(flag) {
    if (flag.revision === this.flag.revision || this.dirty()) return;
    const inside = this.place.contains(document.activeElement) && !this.history.contains(document.activeElement);
    if (inside) return; // whoever is about to change it is told when saving
    this.flag = flag;
    this.draw();
    if (this.history.open) this.tell();
  }

  dirty() {
    return Object.keys(changeOf(this.flag, this.edits)).length > 0;
  }

  draw() {
    const now = edited(this.flag, this.edits);
    this.saving = make("div");
    const parts = make("div", { class: "flag-parts" }, this.variants(now), this.rollout(now), this.overrides(now));
    this.place.replaceChildren(
      this.head(now), ...(this.flag.archived ? [] : [parts, this.rule(now)]), this.saving, this.history);
    this.drawSaving();
  }

  /** An edit: only what depends on it is drawn again, so that the focus stays. */
  edit(change, whole = false) {
    this.edits = { ...this.edits, ...change };
    if (whole) this.redraw();
    else this.drawSaving();
  }

  redraw() {
    const label = document.activeElement?.getAttribute("aria-label");
    const within = this.place.contains(document.activeElement);
    this.draw();
    if (label && within) this.place.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  head(now) {
    const label = `${now.key} is on`;
    return make("div", { class: "flag-head" },
      make("div", {}, make("h2", { id: this.id }, now.key),
        make("p", { class: "quiet" }, now.archived ? "Archived: gateways do as if there were no such flag. " : now.enabled ? "" : `Switched off: everybody gets ${now.default_variant}. `, now.description ? `${now.description} · ` : "",
          `revision ${this.flag.revision}, ${when(this.flag.at)} by ${this.flag.who}: ${this.flag.why}`)),
      this.flag.archived
        ? make("button", { type: "button", "aria-label": `Restore ${now.key}`, onclick: () => this.edit({ archived: false }, true) }, "Restore")
        : make("button", { type: "button", role: "switch", class: "switch", "aria-label": label,
        "aria-checked": String(now.enabled), onclick: () => this.edit({ enabled: !now.enabled, archived: undefined }, true) },
        now.enabled ? "on" : "off"));
  }

  variants(now) {
    const choice = make("select", { "aria-label": `Default variant of ${now.key}`,
      onchange: () => this.edit({ default_variant: choice.value }) },
      Object.keys(now.variants).map((name) => make("option", { value: name }, name)));
    choice.value = now.default_variant;
    return make("section", {}, make("h3", {}, "Variants"),
      make("table", { class: "plain" }, make("tbody", {}, Object.entries(now.variants).map(([name, value]) =>
        make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "mono" }, JSON.stringify(value)))))),
      make("label", { class: "row" }, make("span", {}, "Default"), choice));
  }

  rollout(now) {
    const share = now.rollout ? now.rollout.share : 0;
    const bar = make("div", { class: "split-bar", "aria-hidden": "true" });
    const slider = make("input", { type: "range", min: 0, max: 100, step: 1, value: share / 1000,
      "aria-label": `Share of ${now.key} in percent`, oninput: () => set(slider.value) });
    const exact = make("input", { type: "number", min: 0, max: 100, step: 0.001, value: share / 1000,
      "aria-label": `Exact share of ${now.key} in percent`, oninput: () => set(exact.value) });
    const arms = Object.keys(now.variants).map((name) => {
      const field = make("input", { type: "number", min: 0, step: 1, value: now.rollout?.arms[name] ?? 0,
        "aria-label": `Weight of ${name} in ${now.key}`, oninput: () => weigh(name, field.value) });
      return make("label", { class: "row" }, make("span", {}, "Weight of ", make("b", {}, name)), field);
    });
    const paint = () => drawSplit(bar, edited(this.flag, this.edits).rollout);
    const set = (text) => {
      const value = thousandths(text);
      for (const field of [slider, exact]) if (Number(field.value) * 1000 !== value) field.value = value / 1000;
      const first = this.flag.rollout || this.edits.arms ? {} : { arms: firstArms(now) };
      this.edit({ share: value, ...first });
      if (first.arms) this.redraw();
      else paint();
    };
    const weigh = (name, text) => {
      const arms = { ...(this.flag.rollout?.arms || {}), ...this.edits.arms, [name]: Math.max(0, Math.round(Number(text) || 0)) };
      this.edit({ arms });
      paint();
    };
    paint();
    return make("section", { class: "wide" }, make("h3", {}, "Rollout"),
      make("div", { class: "row share" }, slider, exact, make("span", { class: "quiet" }, "% of users")),
      bar, now.rollout ? arms : make("p", { class: "quiet" }, "No rollout: move the slider to begin one."));
  }

  overrides(now) {
    const free = (name) => this.edit({ overrides: { ...this.edits.overrides, [name]: null } }, true);
    const name = make("input", { "aria-label": `User to override in ${now.key}`, placeholder: "user", size: 10, maxlength: 100 });
    const variant = make("select", { "aria-label": `Variant for the user in ${now.key}` },
      Object.keys(now.variants).map((one) => make("option", { value: one }, one)));
    const add = () => {
      const given = name.value.trim();
      if (given) this.edit({ overrides: { ...this.edits.overrides, [given]: variant.value } }, true);
      else name.focus();
    };
    return make("section", {}, make("h3", {}, "Overrides"),
      make("ul", {}, Object.entries(now.overrides).map(([one, gets]) => make("li", { class: "row tight" },
        make("span", { class: "cut" }, one, " gets ", make("b", {}, gets)),
        make("button", { type: "button", "aria-label": `Free ${one} in ${now.key}`, onclick: () => free(one) }, "Free")))),
      make("div", { class: "row" }, name, variant,
        make("button", { type: "button", "aria-label": `Override the user in ${now.key}`, onclick: add }, "Add")));
  }

  rule(now) {
    const { targeting, slot } = this.flag;
    const written = this.edits.ruleText ?? (targeting === undefined ? "" : JSON.stringify(targeting, null, 2));
    const text = make("textarea", { class: "mono", rows: Math.min(20, Math.max(4, written.split("\n").length)), spellcheck: "false",
      "aria-label": `Targeting of ${now.key}`, oninput: () => this.ruled(text.value) });
    text.value = written;
    const layer = slot ? `Slot ${slot.begin / 1000} to ${slot.end / 1000} % of layer ${slot.layer}. ` : "";
    const open = this.ruleOpen ?? targeting !== undefined;
    const place = make("details", { open, ontoggle: () => (this.ruleOpen = place.open) }, make("summary", {}, "Targeting and archive"),
      make("p", { class: "quiet" }, layer, "A rule in JSON (JsonLogic) that gives a variant, or null to let the rollout decide. It sees targetingKey, language, editor and cohort; empty: no rule."),
      text,
      make("button", { type: "button", "aria-label": `Archive ${now.key}`, onclick: () => this.edit({ archived: true, enabled: false }, true) }, "Archive this flag"));
    return place;
  }

  ruled(ruleText) {
    this.fault = "";
    try {
      this.edit({ ruleText, targeting: parsedRule(ruleText) });
    } catch (error) {
      this.fault = error.message;
      this.edit({ ruleText, targeting: undefined });
    }
  }

  drawSaving() {
    const after = edited(this.flag, this.edits);
    const said = differences(this.flag, after);
    this.place.classList.toggle("dirty", said.length > 0);
    const why = make("input", { "aria-label": `Why ${this.flag.key} changes`, placeholder: "why", maxlength: 500,
      required: true, value: this.why, oninput: () => (this.why = why.value) });
    const moves = this.flag.rollout?.share > 0 && this.edits.arms
      && JSON.stringify(this.flag.rollout.arms) !== JSON.stringify(after.rollout.arms);
    const agree = make("input", { type: "checkbox", checked: this.reshuffle, onchange: () => (this.reshuffle = agree.checked) });
    this.saving.replaceChildren(...[
      this.conflict && make("p", { class: "fault", role: "alert" }, this.conflict),
      this.fault && make("p", { class: "fault", role: "alert" }, this.fault),
      said.length && make("form", { class: "saving", onsubmit: (event) => { event.preventDefault(); this.save(); } },
        make("p", {}, make("b", {}, "To be saved: "), said.join("; ")),
        moves && make("label", { class: "warn" }, agree, " This moves users from one arm to another; do it all the same"),
        make("div", { class: "bar" }, why, make("button", { type: "submit", class: "main" }, "Save"),
          make("button", { type: "button", onclick: () => this.discard() }, "Discard"))),
    ].filter(Boolean));
  }

  discard() {
    Object.assign(this, { edits: {}, conflict: "", fault: "", why: "", reshuffle: false });
    this.draw();
  }

  async save() {
    const { key, revision } = this.flag;
    const body = { revision, why: this.why.trim(), change: changeOf(this.flag, this.edits), reshuffle: this.reshuffle };
    this.conflict = this.fault = "";
    try {
      parsedRule(this.edits.ruleText ?? ""); // what cannot be read must not be left out in silence
      this.flag = await ask(`v1/admin/flags/${encodeURIComponent(key)}`, { body, as: user.get() });
      this.discard();
      if (this.history.open) this.tell();
    } catch (error) {
      if (error.status === 409) await this.meet(revision);
      else this.fault = error.message;
      this.draw();
    }
  }

  /** Somebody was faster: show theirs, keep ours on top of it. */
  async meet(revision) {
    const { flags } = await ask("v1/admin/flags");
    const theirs = flags.find((flag) => flag.key === this.flag.key);
    const said = differences(this.flag, theirs).join("; ");
    this.flag = theirs;
    this.conflict = `Not saved: since revision ${revision}, ${theirs.who} wrote revision ${theirs.revision}`
      + ` (${said}; “${theirs.why}”). What you changed is kept below, now against theirs: save again, or discard it.`;
  }

  async tell() {
    const { versions } = await ask(`v1/admin/flags/${encodeURIComponent(this.flag.key)}`);
    const rows = versions.map((version, place) => make("tr", {},
      make("td", {}, String(version.revision)), make("td", {}, when(version.at)), make("td", {}, version.who),
      make("td", {}, place ? differences(versions[place - 1], version).join("; ") || "nothing" : "made"),
      make("td", {}, version.why)));
    const heads = ["Revision", "When", "Who", "What", "Why"].map((text) => make("th", { scope: "col" }, text));
    this.history.replaceChildren(this.history.firstChild, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `History of ${this.flag.key}` },
      make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows.reverse()))));
  }
}

function firstArms(flag) {
  const others = Object.keys(flag.variants).filter((name) => name !== flag.default_variant);
  return Object.fromEntries([flag.default_variant, ...others].map((name) => [name, 1]));
}

function drawSplit(bar, rollout) {
  const total = Object.values(rollout?.arms || {}).reduce((sum, weight) => sum + weight, 0);
  const parts = total ? Object.entries(rollout.arms).filter(([, weight]) => weight) : [];
  bar.replaceChildren(...parts.map(([name, weight], place) => {
    const width = (rollout.share / WHOLE) * (weight / total) * 100;
    const part = make("span", { class: `arm arm-${place % 4}`, title: `${name}: ${width.toFixed(3)} % of users` }, width >= 20 ? `${name} ${shorter(width)} %` : "");
    part.style.width = `${width}%`;
    return part;
  }), make("span", { class: "rest" }, rollout && rollout.share < WHOLE * 0.8 ? `default ${percent(WHOLE - rollout.share)}` : ""));
}

function shorter(number) {
  return Number(number.toFixed(2));
}

/** A time in seconds since 1970, in the reader's own clock. */
export function when(at) {
  return new Date(at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
