"""Puts a run and what it has to beat side by side: a small file of numbers, and the curve.

    tabwright train ngram --data SHARDS --tokens 11000000 --rows 128 --json > ngram.jsonl
    tabwright train ngram --data SHARDS --orders --rows 128 --json \\
        --checkpoint RUN/checkpoints/step-* > worth.jsonl
    python docs/results/learning.py docs/results/learning --ngram ngram.jsonl \\
        --stage RUN worth.jsonl

writes `learning.json` and `learning.svg`; `--stage` again for what a run was continued by. Losses
are of the same held-out tokens, but for the dashed line: what the run measured itself, on rows of
which half have holes.
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

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 300, 46, 38, 14, 150
GREY, INK, BLUE, LINES = "#8a939c", "#59636e", "#0b62c4", ("#b3470a", "#1a7f37")
Points = Sequence[tuple[float, float]]


def stage(run: Path, worths: Sequence[Row]) -> dict[str, Any]:
    """What one run did where, and what its checkpoints are worth."""
    steps = sorted({row["step"]: row for row in read_lines(run / METRICS)}.values(), key=_step)
    told = json.loads((run / "run.json").read_text("utf-8"))
    data = told["config"]["data"]
    measured = [row for row in steps if "held_out_loss" in row]
    measuring = sum(row.get("measure_seconds", 0) for row in measured)
    seconds = sum(row["seconds"] for row in steps) + measuring
    return {
        "config": told["config"],
        "data": told["data"],
        "starts": read_lines(run / STARTS),
        "steps": len(steps),
        "positions_a_step": data["batch_rows"] * data["context"],
        "tokens_learnt": sum(row["tokens"] for row in steps),
        "seconds": round(seconds, 1),
        "of_them_measuring": round(measuring, 1),
        "processor_seconds": round(_processor(steps), 1),
        "median_step_seconds": statistics.median(row["seconds"] for row in steps),
        "least_step_seconds": min(row["seconds"] for row in steps),
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


def curve(stages: Sequence[dict[str, Any]], ngrams: Sequence[Row]) -> str:
    """Held-out loss by positions read, with a line for each n-gram model."""
    points: list[tuple[float, float]] = []
    own: list[tuple[float, float]] = []
    before = 0.0
    for one in stages:
        size = one["positions_a_step"] / 1e6
        for row in one["worth"]:
            step = int(row["model"].rpartition("-")[2])
            points.append((before + step * size, row["held_out_loss"]))
        own += [(before + step * size, loss) for step, loss in one["held_out_with_holes"]]
        before += one["steps"] * size
    levels = [(row["model"], row["held_out_loss"]) for row in ngrams]
    return "\n".join(_svg(sorted(points), own, levels)) + "\n"


def _svg(points: Points, own: Points, levels: Sequence[tuple[str, float]]) -> Iterator[str]:
    values = [y for _, y in [*points, *own, *levels]]
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
    for places, look in ((drawn, ""), ([place(x, y) for x, y in own], ' stroke-dasharray="5 4"')):
        line = " ".join(f"{x},{y}" for x, y in places)
        yield f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2"{look}/>'
    yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{BLUE}"/>' for x, y in drawn)
    last = drawn[-1]
    yield _text(last[0] + 8, last[1] + 4, f"the run {points[-1][1]:.2f}", "start", BLUE)
    yield "</svg>"


def _line(y: float, stroke: str) -> str:
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke={stroke}/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
    place = f'x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="name of the files without their ends")
    parser.add_argument("--ngram", type=Path, required=True, help="what n-gram models are worth")
    parser.add_argument("--stage", nargs=2, type=Path, action="append", required=True,
                        metavar=("RUN", "WORTH"))  # fmt: skip
    args = parser.parse_args()
    stages = [stage(run, read_lines(worth)) for run, worth in args.stage]
    ngrams = read_lines(args.ngram)
    found = {"stages": stages, "ngrams": ngrams}
    args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    args.out.with_suffix(".svg").write_text(curve(stages, ngrams), encoding="utf-8")


if __name__ == "__main__":
    main()
