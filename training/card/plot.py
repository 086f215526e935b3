"""Line plots as SVG, drawn from numbers: no script, no outside part, colours from the page.

A long series is cut into buckets and drawn by their means. What a plot shows is also said in words
for those who cannot see it. Read `plot`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

WIDTH, HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 8, 22
_MOST_POINTS = 300
COLOURS = 6

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, and y by x, ascending."""

    name: str
    points: Points


@dataclass(frozen=True, slots=True)
class Marks:
    """Steps that are marked by upright lines: `kind` is a class of the page's style."""

    kind: str
    steps: Sequence[int]


def plot(title: str, lines: Iterable[Line], marks: Sequence[Marks] = (), unit: str = "") -> str:
    """Draw lines over one another; empty where no line has a point."""
    drawn = [Line(line.name, thinned(line.points)) for line in lines if line.points]
    if not drawn:
        return ""
    frame = _Frame.around([point for line in drawn for point in line.points])
    body = [
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img "
        f"aria-label='{escape(_in_words(title, drawn, unit), quote=True)}'>",
        *frame.axes(unit),
        *(frame.mark(mark.kind, step) for mark in marks for step in mark.steps),
        *(frame.path(number, line.points) for number, line in enumerate(drawn)),
        "</svg>",
    ]
    legend = "".join(
        f"<span><i class='c{number % COLOURS}'></i>{escape(line.name)}</span>"
        for number, line in enumerate(drawn)
    )
    key = f"<p class=legend>{legend}" if len(drawn) > 1 else ""
    heading = f"<figcaption>{escape(title)}</figcaption>"
    return f"<figure class=plot>{heading}{''.join(body)}{key}</figure>"


def thinned(points: Points) -> Points:
    """At most so many points: means over buckets of equal length."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return points
    buckets = (list(b) for _, b in groupby(enumerate(points), lambda pair: pair[0] // size))
    return [
        (bucket[-1][1][0], statistics.fmean(point[1] for _, point in bucket)) for bucket in buckets
    ]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where numbers lie on the page."""

    x0: float
    x1: float
    y0: float
    y1: float

    @classmethod
    def around(cls, points: Points) -> _Frame:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        low, high = min(ys), max(ys)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        first = min(xs)
        return cls(
            first, max(max(xs), first + 1), 0 if 0 <= low < room else low - room, high + room
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - self.x0) / (self.x1 - self.x0) * (WIDTH - _LEFT - _RIGHT)
        up = (y - self.y0) / (self.y1 - self.y0) * (HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(HEIGHT - _BOTTOM - up, 1)

    def axes(self, unit: str) -> Iterator[str]:
        for y in ticks(self.y0, self.y1):
            _, down = self.at(self.x0, y)
            yield f"<line class=grid x1={_LEFT} x2={WIDTH - _RIGHT} y1={down} y2={down} />"
            place = f"x={_LEFT - 5} y={round(down + 3.5, 1)} text-anchor=end"
            yield f"<text {place}>{number(y)}{unit}</text>"
        for x in ticks(self.x0, self.x1):
            across, _ = self.at(x, self.y0)
            yield f"<text x={across} y={HEIGHT - 7} text-anchor=middle>{number(x)}</text>"

    def mark(self, kind: str, step: int) -> str:
        if not self.x0 <= step <= self.x1:
            return ""
        across, _ = self.at(step, self.y0)
        return f"<line class={kind} x1={across} x2={across} y1={_TOP} y2={HEIGHT - _BOTTOM} />"

    def path(self, colour: int, points: Points) -> str:
        places = [self.at(x, y) for x, y in points]
        drawn = " ".join(f"{x},{y}" for x, y in places)
        dots = (
            "".join(f"<circle cx={x} cy={y} r=2.5 />" for x, y in places)
            if len(places) <= 40
            else ""
        )
        return f"<g class='c{colour % COLOURS}'><polyline points='{drawn}'/>{dots}</g>"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between two."""
    rough = (high - low) / wanted
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [first_tick * step for first_tick in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Short, as axes have room for."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % (size / 10) == 0):
            return f"{value / size:g}{letter}"
    return f"{value:.4g}"


def _in_words(title: str, lines: Sequence[Line], unit: str) -> str:
    said = "; ".join(
        f"{line.name} from {line.points[0][1]:.4g}{unit} at step {line.points[0][0]:g} to "
        f"{line.points[-1][1]:.4g}{unit} at step {line.points[-1][0]:g}"
        for line in lines
    )
    return f"{title}: {said}"
