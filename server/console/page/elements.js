// Makes elements. Text is always set as text: nothing that a model or a person wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an HTML element; `on…` in `given` are listeners, `null` and `false` are left out. */
export function make(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** Make an SVG element. */
export function draw(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

/** Make a table; where the page is narrow, each row becomes a list of its cells with their heads. */
export function table(name, heads, rows) {
  const row = (cells) => make("tr", { role: "row" }, cells.map((cell, place) => {
    cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
    cell.dataset.head = heads[place];
    return cell;
  }));
  return make("table", { class: "folding", role: "table", "aria-label": name },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, heads.map((head) => make("th", { scope: "col", role: "columnheader" }, head)))),
    make("tbody", { role: "rowgroup" }, rows.map(row)));
}

/** Say it to people who see the page and to those who hear it. */
export function notice(text, bad = false) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.classList.toggle("fault", bad);
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
