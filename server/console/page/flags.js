// All flags, each a card; what others change meanwhile is taken up where nothing was edited.

import { make } from "./elements.js";
import { FlagCard } from "./flag_card.js";
import { ask } from "./gateway.js";

const LOOK_MS = 3000;

export function show(main, { failed }) {
  const list = make("div", { class: "stack" });
  const cards = new Map();
  main.append(
    make("p", { class: "quiet" }, "Every change is written down with the key's name and your reason, and reaches all gateways within a second."),
    list);
  const look = async () => {
    const { flags } = await ask("v1/admin/flags");
    for (const flag of flags) {
      const card = cards.get(flag.key);
      if (card) card.update(flag);
      else {
        const made = new FlagCard(flag);
        cards.set(flag.key, made);
        list.append(made.place);
      }
    }
    if (!flags.length)
      list.replaceChildren(make("p", { class: "card" }, "There are no flags yet. Make one with ",
        make("code", {}, "tabwright ab flags set model --variant old=… --variant new=… --default old --why …")));
  };
  const timer = setInterval(() => {
    if (!document.hidden) look().catch(() => {}); // the next one says what is wrong, if it stays
  }, LOOK_MS);
  look().catch(failed);
  return () => clearInterval(timer);
}
