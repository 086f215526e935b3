// Tells the gateway what became of suggestions: docs/native.md, "Report".
//
// Shown means seen for `DWELL_MS`, or acted upon before. A batch is kept until it is answered; who
// gets it twice counts it once, by the ids.

import { ask, sendLast } from "./gateway.js";

export const DWELL_MS = 750;
const WAIT_MS = 150;
const AGAIN_MS = 2000;
const BATCH = 256;

export class Reports {
  /** told(event, receipt): is called with every event, again when the gateway has answered. */
  constructor(told) {
    this.told = told;
    this.window = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.count = 0;
    this.waiting = [];
    this.sending = false;
    this.timer = 0;
    this.dwell = 0;
    this.now = null;
    this.hidden = () => this.waiting.length && sendLast("v1/suggestions/events", this.batch());
    addEventListener("pagehide", this.hidden);
  }

  /** A suggestion is seen from now on. */
  show(id) {
    this.end();
    this.now = { id, since: performance.now(), told: false };
    this.dwell = setTimeout(() => this.seen(), DWELL_MS);
  }

  /** So much of it was taken; `left`: whether something of it is still shown. */
  accept(part, chars, left) {
    if (!this.now) return;
    this.seen();
    this.add("accepted", { part, chars, shown_ms: this.shownMs() });
    if (!left) this.end();
  }

  /** It is not shown any more. */
  dismiss(explicit) {
    if (!this.now) return;
    this.seen();
    this.add("dismissed", { explicit, shown_ms: this.shownMs() });
    this.end();
  }

  /** Say no more about the suggestion that is shown. */
  end() {
    clearTimeout(this.dwell);
    this.now = null;
  }

  /** Leave the page: what waits is sent once more. */
  close() {
    this.end();
    clearTimeout(this.timer);
    removeEventListener("pagehide", this.hidden);
    this.hidden();
  }

  seen() {
    clearTimeout(this.dwell);
    if (this.now.told) return;
    this.now.told = true;
    this.add("shown", { shown_ms: this.shownMs() });
  }

  shownMs() {
    return Math.round(performance.now() - this.now.since);
  }

  add(kind, more) {
    const event = { id: `console-${this.window}-${++this.count}`, suggestion_id: this.now.id, kind, ...more };
    this.waiting.push(event);
    this.told(event, "");
    this.sendSoon(WAIT_MS);
  }

  sendSoon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), ms);
  }

  batch() {
    return { events: this.waiting.slice(0, BATCH) };
  }

  async send() {
    if (this.sending || !this.waiting.length) return;
    this.sending = true;
    const body = this.batch();
    let again = WAIT_MS;
    try {
      const receipt = await ask("v1/suggestions/events", { body });
      this.waiting.splice(0, body.events.length);
      const all = Object.keys(receipt).find((name) => receipt[name] === body.events.length);
      for (const event of body.events) this.told(event, all || "received");
    } catch (error) {
      for (const event of body.events) this.told(event, error.message);
      if (error.status >= 400 && error.status < 500) this.waiting.splice(0, body.events.length);
      again = AGAIN_MS;
    } finally {
      this.sending = false;
    }
    if (this.waiting.length) this.sendSoon(again);
  }
}
