"""Puts a run and what it has to beat side by side: a small file of numbers, and the curve.

    tabwright train ngram --data SHARDS --checkpoint RUN/checkpoints/step-* --json > worth.jsonl
    python docs/results/learning.py RUN worth.jsonl docs/results/learning

writes `learning.json` and `learning.svg`. All losses on the curve are of the same held-out tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from training.records import METRICS, STARTS, Row, read_lines

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 300, 46, 38, 14, 120
GREY, INK, LINES = "#8a939c", "#59636e", ("#b3470a", "#1a7f37")
Points = Sequence[tuple[float, float]]


def summary(run: Path, worths: Sequence[Row]) -> dict[str, Any]:
    """What was run where, the curve, and what everything is worth."""
    steps = sorted({row["step"]: row for row in read_lines(run / METRICS)}.values(), key=_step)
    starts = read_lines(run / STARTS)
    told = json.loads((run / "run.json").read_text("utf-8"))
    data = told["config"]["data"]
    measured = [row for row in steps if "held_out_loss" in row]
    seconds = sum(row["seconds"] + row.get("measure_seconds", 0) for row in steps)
    return {
        "config": told["config"],
        "data": told["data"],
        "starts": starts,
        "steps": len(steps),
        "positions": len(steps) * data["batch_rows"] * data["context"],
        "tokens_learnt": sum(row["tokens"] for row in steps),
        "seconds": round(seconds, 1),
        "of_them_measuring": round(sum(row.get("measure_seconds", 0) for row in measured), 1),
        "processor_seconds": round(_processor(steps), 1),
        "median_step_seconds": statistics.median(row["seconds"] for row in steps),
        "loss": [[row["step"], round(row["loss"], 4)] for row in steps[::20]],
        "held_out_with_holes": [[r["step"], round(r["held_out_loss"], 4)] for r in measured],
        "worth": list(worths),
    }


def _step(row: Row) -> int:
    return int(row["step"])


def _processor(steps: Sequence[Row]) -> float:
    """Of rank 0, over all its starts: the count begins anew with each."""
    total = before = 0.0
    for row in steps:
        total += row["processor_s"] - (before if row["processor_s"] >= before else 0)
        before = row["processor_s"]
    return total


def curve(found: dict[str, Any]) -> str:
    """Held-out loss by positions read, with a line for each n-gram model."""
    data = found["config"]["data"]
    size = data["batch_rows"] * data["context"] / 1e6
    points, levels = [], []
    for row in found["worth"]:
        if row["model"].startswith("checkpoint"):
            step = int(row["model"].rpartition("-")[2])
            points.append((step * size, row["held_out_loss"]))
        else:
            levels.append((row["model"], row["held_out_loss"]))
    return "\n".join(_svg(sorted(points), levels)) + "\n"


def _svg(points: Points, levels: Sequence[tuple[str, float]]) -> Iterator[str]:
    values = [y for _, y in [*points, *levels]]
    low, high, end = min(values) - 0.2, max(values) + 0.2, points[-1][0]

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / end * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    said = f"held-out loss from {points[0][1]:.2f} to {points[-1][1]:.2f} nats; " + "; ".join(
        f"{name} {loss:.2f}" for name, loss in levels
    )
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'aria-label="{escape(said)}" font-family="sans-serif" font-size="11">')  # fmt: skip
    for tenth in range(int(low * 10) + 1, int(high * 10) + 1):
        if tenth % 5 == 0:
            x, y = place(0, tenth / 10)
            yield _line(y, f'"{GREY}" opacity=".3"')
            yield _text(x - 6, y + 4, f"{tenth / 10:g}", "end")
    for x in range(int(end) + 1):
        yield _text(place(x, low)[0], HEIGHT - BOTTOM + 14, str(x), "middle")
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    yield _text(middle, HEIGHT - 6, "millions of positions read; held-out nats a token", "middle")
    for (name, loss), colour in zip(levels, LINES, strict=False):
        _, y = place(0, loss)
        yield _line(y, f'"{colour}"')
        yield _text(WIDTH - RIGHT + 6, y + 4, f"{name} {loss:.2f}", "start", colour)
    drawn = [place(x, y) for x, y in points]
    line = " ".join(f"{x},{y}" for x, y in drawn)
    yield f'<polyline points="{line}" fill="none" stroke="#0b62c4" stroke-width="2"/>'
    yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="#0b62c4"/>' for x, y in drawn)
    last = drawn[-1]
    yield _text(last[0] + 8, last[1] + 4, f"the run {points[-1][1]:.2f}", "start", "#0b62c4")
    yield "</svg>"


def _line(y: float, stroke: str) -> str:
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke={stroke}/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    place = f'x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("worth", type=Path, help="what `tabwright train ngram --json` printed")
    parser.add_argument("out", type=Path, help="name of the files without their ends")
    args = parser.parse_args()
    found = summary(args.run, read_lines(args.worth))
    args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    args.out.with_suffix(".svg").write_text(curve(found), encoding="utf-8")


if __name__ == "__main__":
    main()
