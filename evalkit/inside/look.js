// What the judge asks about a page, run in a world of its own: it sees the same elements as the page's
// scripts, and none of their objects. Elements with names can hide properties of documents and forms
// from every world (`<img name="querySelector">`), so all are taken from the prototypes.
function look(what, selector, name, pseudo) {
  const read = (object, key) => {
    for (let type = Object.getPrototypeOf(object); type; type = Object.getPrototypeOf(type)) {
      const found = Object.getOwnPropertyDescriptor(type, key);
      if (found) return found.get ? found.get.call(object) : found.value;
    }
  };
  const box = (element) => Element.prototype.getBoundingClientRect.call(element);
  const shown = (element) => {
    const { width, height } = box(element);
    const seen = { opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: false };
    return width > 0 && height > 0 && Element.prototype.checkVisibility.call(element, seen);
  };
  const text = (element) =>
    String(read(element, "innerText") ?? read(element, "textContent")).replace(/\s+/g, " ").trim();
  const all = Array.from(Document.prototype.querySelectorAll.call(document, selector));
  const [first] = all;
  if (what === "count") return all.length;
  if (what === "texts") return all.filter(shown).map(text);
  if (what === "shown") return all.some(shown);
  if (what === "scroll") return scrollTo({ top: name, behavior: "instant" }), true;
  if (first === undefined) return null;
  if (what === "text") return text(first);
  if (what === "attribute") return Element.prototype.getAttribute.call(first, name);
  if (what === "property") return read(first, name) ?? null;
  if (what === "style") return getComputedStyle(first, pseudo || null).getPropertyValue(name);
  if (what === "box") return box(first)[name];
  if (what === "focused") return read(document, "activeElement") === first;
  if (what === "point") {
    if (!shown(first)) return null;
    const { top: high, bottom: low } = box(first);
    if (high < 0 || low > innerHeight) {
      Element.prototype.scrollIntoView.call(first, { block: "center", behavior: "instant" });
    }
    const { left, top, width, height } = Element.prototype.getClientRects.call(first)[0];
    return [left + width / 2, top + height / 2];
  }
}
