// Plots as SVG: axes with units, lines with bands and their names at the end, intervals in rows.
// Colours are classes of the stylesheet, so that they follow the theme.

import { draw, make } from "./elements.js";

const TOP = 12;
const BOTTOM = 40;
const LEFT = 62;
const FIGURE = 15; // height of a line of text

/** A plot that is drawn again when its place changes its width; `paint(width)` returns an SVG. */
export function plot(title, paint) {
  const place = make("div", { class: "plot" });
  let width = 0;
  const watch = new ResizeObserver(() => {
    if (Math.abs(place.clientWidth - width) > 1) again();
  });
  const again = () => {
    width = place.clientWidth || 600;
    const svg = paint(Math.max(280, width));
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", title);
    place.replaceChildren(svg);
  };
  watch.observe(place);
  return { place, again };
}

/**
 * Lines over x. series: {name, className, points: [[x, y]], band: [[x, low, high]]}.
 * x, y: {label, text(value)}; `ticks` of x are given or made; y has `zero`: whether 0 must be seen.
 */
export function lines(width, { series, x, y, height = 240 }) {
  const names = series.filter((one) => one.points.length).map((one) => one.name);
  const right = names.some(Boolean) ? Math.min(130, 16 + 7.2 * Math.max(...names.map((name) => name.length))) : 14;
  const xs = series.flatMap((one) => one.points.map((point) => point[0]));
  const ys = series.flatMap((one) => [...one.points.map((point) => point[1]), ...(one.band || []).flatMap((row) => [row[1], row[2]])]);
  const across = scale(x.from ?? Math.min(...xs), x.to ?? Math.max(...xs), LEFT, width - right);
  const ticks = nice([...ys, ...(y.zero ? [0] : [])], y.least);
  const up = scale(ticks[0], ticks.at(-1), height - BOTTOM, TOP);
  const svg = canvas(width, height);
  for (const value of ticks) {
    svg.append(draw("line", { class: value === 0 && ticks[0] < 0 ? "zero" : "grid", x1: LEFT, x2: width - right, y1: up(value), y2: up(value) }),
      text(LEFT - 8, up(value) + 4, y.text(value), "end"));
  }
  const places = thinned(x.ticks || nice(xs), across, 8 * Math.max(...(x.ticks || nice(xs)).map((value) => x.text(value).length)) + 12);
  for (const value of places)
    svg.append(draw("line", { class: "axis", x1: across(value), x2: across(value), y1: height - BOTTOM, y2: height - BOTTOM + 4 }),
      text(across(value), height - BOTTOM + 18, x.text(value), "middle"));
  svg.append(draw("line", { class: "axis", x1: LEFT, x2: width - right, y1: height - BOTTOM, y2: height - BOTTOM }),
    text((LEFT + width - right) / 2, height - 5, x.label, "middle", "label"));
  for (const one of series) {
    if (one.band?.length) svg.append(draw("polygon", { class: `band ${one.className}`,
      points: [...one.band.map((row) => [across(row[0]), up(row[2])]), ...[...one.band].reverse().map((row) => [across(row[0]), up(row[1])])].join(" ") }));
  }
  for (const one of series) {
    const points = one.points.map(([at, value]) => [across(at), up(value)]);
    if (points.length > 1) svg.append(draw("polyline", { class: `line ${one.className}`, points: points.join(" ") }));
    if (points.length && points.length < 20) for (const [cx, cy] of points) svg.append(draw("circle", { class: `dot ${one.className}`, cx, cy, r: 3 }));
  }
  if (!ys.length) svg.append(text((LEFT + width - right) / 2, height / 2, "nothing yet", "middle"));
  for (const { one, at } of apart(series, up)) svg.append(text(width - right + 8, at + 4, one.name, "start", `name ${one.className}`));
  return svg;
}

/** Intervals in rows with a line at zero. rows: {name, value, low, high, shrunken, sure, note}. */
export function intervals(width, { rows, label, text: say }) {
  const left = Math.min(width * 0.3, 16 + 7.6 * Math.max(...rows.map((row) => row.name.length)));
  const right = 34;
  const height = TOP + 34 * rows.length + BOTTOM;
  const ticks = nice([0, ...rows.flatMap((row) => [row.low, row.high])], undefined, width < 500 ? 4 : 6);
  const across = scale(ticks[0], ticks.at(-1), left, width - right);
  const svg = canvas(width, height);
  for (const value of ticks)
    svg.append(draw("line", { class: value === 0 ? "zero" : "grid", x1: across(value), x2: across(value), y1: TOP, y2: height - BOTTOM }),
      text(across(value), height - BOTTOM + 16, say(value), "middle"));
  rows.forEach((row, place) => {
    const y = TOP + 34 * place + 20;
    const sure = row.sure ? "sure" : "open";
    const at = across(row.shrunken);
    svg.append(text(left - 10, y + 4, row.name, "end", "name"),
      draw("line", { class: `interval ${sure}`, x1: across(row.low), x2: across(row.high), y1: y, y2: y }),
      draw("circle", { class: `dot ${sure}`, cx: across(row.value), cy: y, r: 5 }),
      draw("polygon", { class: "shrunken", points: `${at - 5},${y} ${at},${y - 5} ${at + 5},${y} ${at},${y + 5}` }),
      text(Math.min(width - right - 4 * row.note.length, Math.max(left + 4 * row.note.length, across(row.value))), y - 9, row.note, "middle", "note"));
  });
  svg.append(text((left + width - right) / 2, height - 5, label, "middle", "label"));
  return svg;
}

function canvas(width, height) {
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
}

function text(x, y, content, anchor, className = "") {
  return draw("text", { x, y, "text-anchor": anchor, class: className }, content);
}

function scale(from, to, start, end) {
  const span = to - from || 1;
  return (value) => Math.round((start + ((value - from) / span) * (end - start)) * 10) / 10;
}

/** Round values that cover all `values`, about `wanted` of them; `least`: what the top must reach. */
function nice(values, least = undefined, wanted = 5) {
  let low = Math.min(...values);
  let high = Math.max(...values, least ?? -Infinity);
  if (!Number.isFinite(low)) [low, high] = [0, least ?? 1];
  if (high - low < 1e-12) high = low + (Math.abs(low) || 1);
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
  const first = Math.floor(low / step + 1e-9);
  const count = Math.ceil(high / step - 1e-9) - first;
  return Array.from({ length: count + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

function thinned(values, across, room) {
  const found = [];
  for (const value of [...values].reverse())
    if (!found.length || across(found.at(-1)) - across(value) >= room) found.push(value);
  return found;
}

/** Where the names of lines go, at their ends but not upon each other. */
function apart(series, up) {
  const ends = series.filter((one) => one.points.length && one.name)
    .map((one) => ({ one, at: up(one.points.at(-1)[1]) })).sort((a, b) => a.at - b.at);
  for (let place = 1; place < ends.length; place++) ends[place].at = Math.max(ends[place].at, ends[place - 1].at + FIGURE);
  return ends;
}
