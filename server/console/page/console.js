// The frame of the console: which page is shown, in which theme, with which key.

import { make, notice } from "./elements.js";
import { ask, key, user } from "./gateway.js";

const PAGES = {
  playground: ["Playground", () => import("./playground.js")],
  flags: ["Flags", () => import("./flags.js")],
  experiments: ["Experiments", () => import("./experiments.js")],
  models: ["Models", () => import("./models.js")],
  live: ["Live", () => import("./live.js")],
};
const THEME = "tabwright-theme";

let leave = () => {};
let shown = 0;

async function show() {
  const name = location.hash.slice(1) in PAGES ? location.hash.slice(1) : "playground";
  const [title, load] = PAGES[name];
  const turn = ++shown;
  leave();
  leave = () => {};
  document.title = `${title} · Tabwright`;
  for (const link of document.querySelectorAll("#pages a"))
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  const main = document.getElementById("main");
  main.dataset.page = name;
  main.replaceChildren(make("p", { class: "quiet" }, "Loading …"));
  try {
    const session = await ask("v1/session");
    const page = await load();
    if (turn !== shown) return;
    main.replaceChildren(make("h1", {}, title));
    leave = page.show(main, { session, failed }) || leave;
  } catch (error) {
    if (turn !== shown) return;
    main.replaceChildren(make("h1", {}, title));
    failed(error);
  }
}

/** Say what went wrong; ask for a key if that is what is missing. */
function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) openDoor(key.get() ? error.message : "");
  else notice(error.message, true);
}

function openDoor(fault = "") {
  document.getElementById("door-fault").textContent = fault;
  const door = document.getElementById("door");
  if (!door.open) door.showModal();
}

function keepDoor() {
  const door = document.getElementById("door");
  const field = document.getElementById("door-key");
  document.getElementById("key").addEventListener("click", () => openDoor());
  document.getElementById("door-close").addEventListener("click", () => door.close());
  document.getElementById("door-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    field.value = "";
    door.close();
    notice("");
    show();
  });
}

function keepTheme() {
  const choice = document.getElementById("theme");
  choice.value = localStorage.getItem(THEME) || "";
  const wear = () => {
    document.documentElement.dataset.theme = choice.value;
    localStorage.setItem(THEME, choice.value);
  };
  choice.addEventListener("change", wear);
  wear();
}

function keepUser() {
  const field = document.getElementById("user");
  field.value = user.get();
  field.addEventListener("change", () => user.set(field.value.trim()));
}

for (const [name, [title]] of Object.entries(PAGES))
  document.getElementById("pages").append(make("a", { href: `#${name}` }, title));
document.getElementById("skip").addEventListener("click", () => document.getElementById("main").focus());
keepTheme();
keepUser();
keepDoor();
addEventListener("hashchange", () => {
  notice("");
  show();
});
show();
