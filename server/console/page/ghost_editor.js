// A text area with grey text at its cursor: Tab takes it, Ctrl+Right a word of it, Escape none of it.
//
// The area itself is transparent; what is seen is a copy below it that has the grey text in its place.
// It knows keys and places. Where the grey text comes from, and who is told what became of it, is
// told to `heard`: edited(), taken(text, part), left(explicit).

import { make } from "./elements.js";

const WORD = /^\s*(?:[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+)/u;

export class GhostEditor {
  constructor(label, text, heard) {
    this.heard = heard;
    this.ghost = "";
    this.before = make("span");
    this.grey = make("span", { class: "ghost", "data-ghost": "" });
    this.after = make("span");
    this.copy = make("pre", { class: "code-copy", "aria-hidden": "true" }, this.before, this.grey, this.after);
    this.area = make("textarea", {
      class: "code-area", "aria-label": label, "aria-describedby": "ghost-keys", rows: 14,
      spellcheck: "false", autocapitalize: "off", autocomplete: "off", autocorrect: "off",
      oninput: () => this.input(),
      onkeydown: (event) => this.key(event),
      onscroll: () => this.scroll(),
      onpointerdown: () => this.dismiss(false),
    });
    this.area.value = text;
    this.known = text;
    this.place = make("div", { class: "code" }, this.copy, this.area);
    this.moved = () => {
      if (document.activeElement === this.area && this.area.selectionStart !== this.at) this.dismiss(false);
    };
    document.addEventListener("selectionchange", this.moved);
    this.paint();
  }

  /** Stop listening. */
  close() {
    document.removeEventListener("selectionchange", this.moved);
  }

  /** What stands on both sides of the cursor; null while something is selected. */
  around() {
    const { selectionStart: at, selectionEnd: end, value } = this.area;
    return at === end ? { prefix: value.slice(0, at), suffix: value.slice(at) } : null;
  }

  /** Put grey text at the cursor, in place of what was there. */
  offer(text) {
    this.ghost = text;
    this.at = this.area.selectionStart;
    this.paint();
  }

  /** Take all of the grey text, or a word of it. */
  take(part) {
    const text = part === "word" ? (WORD.exec(this.ghost) || [this.ghost])[0] : this.ghost;
    if (!text) return;
    this.ghost = this.ghost.slice(text.length);
    const { selectionStart: at, value } = this.area;
    this.known = value.slice(0, at) + text + value.slice(at);
    this.at = at + text.length;
    this.write(text);
    this.paint();
    this.heard.taken(text, part);
  }

  /** Take the grey text away; `explicit`: because somebody said so. */
  dismiss(explicit) {
    if (!this.ghost) return;
    this.ghost = "";
    this.paint();
    this.heard.left(explicit);
  }

  write(text) {
    this.area.focus();
    // The old way keeps the browser's own undo; where it is gone the text is set.
    if (document.execCommand("insertText", false, text)) return;
    this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
  }

  input() {
    const { value, selectionStart: at } = this.area;
    if (value === this.known) return; // our own writing
    const typed = value.slice(this.at, at);
    const through =
      this.ghost && at > this.at && this.ghost.startsWith(typed) &&
      value === this.known.slice(0, this.at) + typed + this.known.slice(this.at);
    this.known = value;
    if (through && typed.length < this.ghost.length) {
      this.ghost = this.ghost.slice(typed.length);
      this.at = at;
    } else if (this.ghost) {
      this.ghost = "";
      this.heard.left(false);
    }
    this.paint();
    this.heard.edited();
  }

  key(event) {
    if (event.isComposing) return;
    const plain = !event.ctrlKey && !event.altKey && !event.metaKey && !event.shiftKey;
    const word = event.key === "ArrowRight" && (event.ctrlKey || event.altKey) && !event.shiftKey;
    if (event.key === " " && event.ctrlKey) this.heard.edited();
    else if (!this.ghost) return;
    else if (event.key === "Tab" && plain) this.take("full");
    else if (word) this.take("word");
    else if (event.key === "Escape") this.dismiss(true);
    else return;
    event.preventDefault();
  }

  scroll() {
    this.copy.scrollTop = this.area.scrollTop;
    this.copy.scrollLeft = this.area.scrollLeft;
  }

  paint() {
    const { value, selectionStart: at } = this.area;
    this.before.textContent = value.slice(0, at);
    this.grey.textContent = this.ghost;
    this.after.textContent = `${value.slice(at)}\n`; // a last empty line has a height only so
    this.place.classList.toggle("has-ghost", this.ghost !== "");
    this.scroll();
  }
}
