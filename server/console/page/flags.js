// All flags, each a card; what others change meanwhile is taken up where nothing was edited.

import { make } from "./elements.js";
import { FlagCard } from "./flag_card.js";
import { ask } from "./gateway.js";
import { NewFlag } from "./new_flag.js";

const LOOK_MS = 3000;

export function show(main, { session, failed }) {
  const list = make("div", { class: "stack" });
  const old = make("div", { class: "stack" });
  const away = make("details", { hidden: true }, make("summary", {}, "Archived flags"), old);
  const none = make("p", { class: "card", hidden: true }, "There are no flags yet. Make one here, or by ",
    make("code", {}, "tabwright ab flags set model --variant old=… --variant new=… --default old --why …"));
  const cards = new Map();
  const form = new NewFlag(session.models, (flag) => {
    take(flag);
    cards.get(flag.key).place.scrollIntoView({ block: "nearest" });
  });
  main.append(
    make("p", { class: "quiet" }, "Every change is written down with the key's name and your reason, and reaches all gateways within a second."),
    make("div", { class: "buttons above" }, make("button", { type: "button", onclick: () => form.open() }, "New flag")),
    form.place, none, list, away);
  const take = (flag) => {
    if (cards.has(flag.key)) cards.get(flag.key).update(flag);
    else cards.set(flag.key, new FlagCard(flag));
    const { place, flag: known } = cards.get(flag.key);
    const where = known.archived ? old : list;
    if (place.parentElement !== where) where.append(place);
    away.hidden = !old.childElementCount;
    none.hidden = cards.size > 0;
  };
  const look = async () => {
    const { flags } = await ask("v1/admin/flags");
    flags.forEach(take);
    none.hidden = cards.size > 0;
  };
  const timer = setInterval(() => {
    if (!document.hidden) look().catch(() => {}); // the next one says what is wrong, if it stays
  }, LOOK_MS);
  look().catch(failed);
  return () => clearInterval(timer);
}
