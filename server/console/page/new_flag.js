// The form of a flag that is not there yet. What is wrong is said by the gateway, in the words of the
// command line, beside the field that it names.

import { make } from "./elements.js";
import { parsedRule, thousandths } from "./flag_edits.js";
import { ask, user } from "./gateway.js";

const KNOWN = ["model", "postprocess", "lines", "speculate"];

export class NewFlag {
  /** made: is given the flag. models: names that the flag `model` may give. */
  constructor(models, made) {
    this.made = made;
    this.rows = [];
    this.key = make("input", { required: true, maxlength: 100, list: "known-flags", autocomplete: "off" });
    this.about = make("input", { maxlength: 500 });
    this.list = make("tbody");
    this.share = make("input", { type: "number", min: 0, max: 100, step: 0.001, value: 0 });
    this.rule = make("textarea", { rows: 4, spellcheck: "false", class: "mono",
      placeholder: '{"if": [{"==": [{"var": "language"}, "go"]}, "new", null]}' });
    this.why = make("input", { required: true, maxlength: 500 });
    this.fault = make("p", { class: "fault", role: "alert" });
    this.place = make("form", { class: "card new-flag", "aria-label": "New flag", hidden: true,
      onsubmit: (event) => { event.preventDefault(); this.save(); } },
      make("h2", {}, "New flag"),
      make("datalist", { id: "known-flags" }, KNOWN.map((name) => make("option", { value: name }))),
      make("datalist", { id: "known-models" }, models.map((name) => make("option", { value: name }))),
      make("p", { class: "quiet" }, `The gateway goes by ${KNOWN.join(", ")}. Others are for your own programs, which ask by OFREP.`),
      make("div", { class: "fields" }, field("Key", this.key), field("Description", this.about)),
      make("h3", {}, "Variants"),
      make("table", { class: "plain" }, make("thead", {}, make("tr", {},
        ["Name", "Value: JSON, or else text", "Weight", "Default", ""].map((head) => make("th", { scope: "col" }, head)))), this.list),
      make("button", { type: "button", onclick: () => this.row() }, "Add a variant"),
      make("div", { class: "fields" }, field("Share: percent of users, split by weight", this.share)),
      field("Targeting: a rule in JSON that gives a variant, or null for the rollout; empty for none", this.rule),
      field("Why", this.why), this.fault,
      make("div", { class: "buttons" }, make("button", { type: "submit", class: "main" }, "Make the flag"),
        make("button", { type: "button", onclick: () => this.close() }, "Cancel")));
    this.clear();
  }

  open() {
    this.place.hidden = false;
    this.key.focus();
  }

  close() {
    this.place.hidden = true;
    this.clear();
  }

  clear() {
    this.rows = [];
    this.list.replaceChildren();
    for (const input of [this.key, this.about, this.rule, this.why]) input.value = "";
    this.share.value = 0;
    this.say("");
    this.row();
    this.row();
  }

  row() {
    const number = this.rows.length + 1;
    const name = make("input", { "aria-label": `Name of variant ${number}`, maxlength: 100, size: 8, placeholder: "name" });
    const value = make("input", { "aria-label": `Value of variant ${number}`, size: 12, placeholder: "value" });
    value.addEventListener("focus", () => value.setAttribute("list", this.key.value === "model" ? "known-models" : ""));
    const weight = make("input", { "aria-label": `Weight of variant ${number}`, type: "number", min: 0, step: 1, value: 1 });
    const chosen = make("input", { "aria-label": `Variant ${number} is the default`, type: "radio", name: "new-flag-default", checked: number === 1 });
    const one = { name, value, weight, chosen };
    const away = () => {
      this.rows = this.rows.filter((other) => other !== one);
      line.remove();
    };
    const line = make("tr", {}, [name, value, weight, chosen, make("button", { type: "button", "aria-label": `Remove variant ${number}`, onclick: away }, "Remove")]
      .map((part) => make("td", {}, part)));
    this.rows.push(one);
    this.list.append(line);
  }

  /** What the gateway takes as a change of nothing. Throws for what is no JSON and no flag. */
  definition() {
    const given = this.rows.filter((row) => row.name.value.trim() || row.value.value.trim());
    const names = given.map((row) => row.name.value.trim());
    const twice = names.find((name, place) => names.indexOf(name) !== place);
    if (twice !== undefined) throw new Error(`variants '${twice}': name each once`);
    const chosen = given.find((row) => row.chosen.checked);
    const share = thousandths(this.share.value);
    const arms = Object.fromEntries(given.map((row) => [row.name.value.trim(), Math.round(Number(row.weight.value) || 0)]));
    const rule = parsedRule(this.rule.value);
    return {
      variants: Object.fromEntries(given.map((row) => [row.name.value.trim(), valueOf(row.value.value.trim())])),
      default_variant: chosen ? chosen.name.value.trim() : "",
      ...(share ? { rollout: { share, salt: this.key.value.trim(), arms } } : {}),
      ...(rule === null ? {} : { targeting: rule }),
      ...(this.about.value.trim() ? { description: this.about.value.trim() } : {}),
    };
  }

  async save() {
    try {
      const body = { revision: 0, why: this.why.value.trim(), change: this.definition() };
      const made = await ask(`v1/admin/flags/${encodeURIComponent(this.key.value.trim())}`, { body, as: user.get() });
      this.close();
      this.made(made);
    } catch (error) {
      this.say(error.status === 409 ? `There is a flag ${this.key.value.trim()} already: ${error.message}` : error.message, error.said?.field);
    }
  }

  say(text, name = "") {
    this.fault.textContent = text;
    const at = { key: this.key, targeting: this.rule, why: this.why, "rollout.share": this.share }[name];
    for (const input of [this.key, this.rule, this.why, this.share]) input.toggleAttribute("aria-invalid", input === at);
    at?.focus();
  }
}

function field(name, input) {
  return make("label", { class: "field" }, make("span", {}, name), input);
}

/** As `tabwright ab flags set --variant name=value` reads it. */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
