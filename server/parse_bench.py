"""What post-processing is worth: `tabwright parse-bench`.

Cuts holes into the standard library of the Python that runs it, as an editor would have the cursor:
in the middle of a line, before its end, on an empty line, in an empty body. Completes each greedily
through the gateway's own path, raw and post-processed, and asks whether the file parses again. A
file also parses when nothing is shown in the right place, so the share of empty answers, the share
among answers with text, and what showing nothing at all would score stand beside it.

It says nothing about other languages. Read `measure` first.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import statistics
import sysconfig
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import anyio

from server.admission import Admission
from server.caller import Eagerness, Wishes
from server.chain import Chain
from server.completer import Completer
from server.engines.registry import load_engine
from server.inflight import Running
from server.model_choice import ModelChoice, ServedModel
from server.postprocess import VERSIONS
from server.prompt import PromptBuilder
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.errors import ConfigError
from tabwright.request import CompletionRequest, SamplingParams

KINDS = ("span", "line end", "line", "block")
_TESTS = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "encodings"}
_SLOTS = 8
_PIECE = 4  # characters of a token, about


class Hole(NamedTuple):
    """A place in a file and what the author wrote there."""

    kind: str
    path: str
    prefix: str
    middle: str
    suffix: str


class Answer(NamedTuple):
    """What was shown for one hole, and the tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """One version on the holes of one kind; shares are of 1.

    parses_filled: the share among answers that are not empty. exact: equal to the author's text,
    blanks at the end aside. chars, tokens: means of what was shown and of what was generated.
    """

    version: str
    kind: str
    holes: int
    parses: float
    parses_filled: float
    empty: float
    exact: float
    chars: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds: to look around the cursor of one request, and of each token of its answer."""

    version: str
    request_us: float
    token_us: float


def cut_holes(folder: Path, count: int, seed: int) -> list[Hole]:
    """Cut `count` holes into the Python files under `folder`, each kind as often, one a file.

    Raises:
        ConfigError: there are too few files.
    """
    chance = random.Random(seed)
    files = sorted(
        path
        for path in folder.rglob("*.py")
        if not _TESTS & set(path.relative_to(folder).parts) and 800 < path.stat().st_size < 60_000
    )
    holes: list[Hole] = []
    while len(holes) < count:
        found = len(holes)
        chance.shuffle(files)
        for path in files:
            kind = KINDS[len(holes) % len(KINDS)]
            hole = _cut(path, path.relative_to(folder).as_posix(), kind, chance)
            if hole and len(holes) < count:
                holes.append(hole)
        if found == len(holes):
            raise ConfigError(f"--source {folder}: no Python file that a hole can be cut into")
    return holes


async def measure(artifact: ModelArtifact, holes: Sequence[Hole], version: str) -> list[Answer]:
    """Complete each hole; "off" for raw text."""
    answers: dict[int, Answer] = {}
    # Exact arithmetic, so that answers do not depend on which requests share a step.
    async with load_engine("cpu", artifact, precision="f32", slots=_SLOTS) as engine:
        prompts = PromptBuilder(artifact, engine.max_context)
        model = ServedModel(artifact.name, engine, prompts)
        completer = Completer(ModelChoice([model]), Admission(_SLOTS, 0))
        left = list(enumerate(holes))

        async def work() -> None:
            while left:
                number, hole = left.pop()
                answers[number] = await _complete(completer, hole, version)

        async with anyio.create_task_group() as tasks:
            for _ in range(_SLOTS):
                tasks.start_soon(work)
    return [answers[number] for number in range(len(holes))]


def summary(version: str, holes: Sequence[Hole], answers: Sequence[Answer]) -> Iterator[Row]:
    """Count, by kind and in all."""
    rated = [
        (hole, answer, parses(hole, answer.text))
        for hole, answer in zip(holes, answers, strict=True)
    ]
    for kind in (*KINDS, "all"):
        rows = [row for row in rated if kind in (row[0].kind, "all")]
        if not rows:
            continue
        filled = [good for _, answer, good in rows if answer.text.strip()]
        mean = statistics.fmean
        yield Row(
            version,
            kind,
            len(rows),
            parses=mean(good for *_, good in rows),
            parses_filled=mean(filled) if filled else 0.0,
            empty=1 - len(filled) / len(rows),
            exact=mean(hole.middle.rstrip() == a.text.rstrip() for hole, a, _ in rows),
            chars=mean(len(answer.text) for _, answer, _ in rows),
            tokens=mean(answer.tokens for _, answer, _ in rows),
        )


def parses(hole: Hole, text: str) -> bool:
    """Tell whether the file is Python with `text` in the hole."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(hole.prefix + text + hole.suffix)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def cost(version: str, holes: Sequence[Hole], raw: Sequence[Answer]) -> Cost:
    """Time the chain alone on the raw answers, in pieces of a token's length."""
    wishes = Wishes(Eagerness(), version)
    preparing = reading = pieces = 0.0
    for hole, answer in zip(holes, raw, strict=True):
        begun = time.perf_counter()
        chain = Chain(_request(hole), wishes)
        prepared = time.perf_counter()
        for place in range(0, len(answer.text), _PIECE):
            pieces += 1
            if chain.push(answer.text[place : place + _PIECE], (-0.1,)).stopped:
                break
        else:
            chain.flush(whole=False)
        preparing += prepared - begun
        reading += time.perf_counter() - prepared
    return Cost(version, 1e6 * preparing / len(holes), 1e6 * reading / max(1, pieces))


async def _complete(completer: Completer, hole: Hole, version: str) -> Answer:
    running = Running("bench", "bench", wishes=Wishes(Eagerness(), version))
    async with completer.complete(_request(hole), running) as pieces:
        text = "".join([piece.text async for piece in pieces])
    return Answer(text, running.tokens)


def _request(hole: Hole) -> CompletionRequest:
    return CompletionRequest(
        hole.prefix, hole.suffix, path=hole.path, sampling=SamplingParams(max_tokens=64)
    )


def _cut(path: Path, name: str, kind: str, chance: random.Random) -> Hole | None:
    """Cut one hole of a kind, None where the file has no place for it."""
    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return None
    if "\r" in text or not text.isascii():  # positions of the syntax tree count bytes
        return None
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    places = list(_blocks(tree) if kind == "block" else _statements(tree))
    if not places:
        return None
    first, last = chance.choice(places)
    begin = starts[first.lineno - 1] + first.col_offset
    end = starts[(last.end_lineno or 1) - 1] + (last.end_col_offset or 0)
    if kind in ("span", "line end"):
        line_end = starts[first.lineno] - 1
        begin = chance.randrange(begin + 1, max(begin + 2, line_end))
        end = chance.randrange(begin + 1, line_end + 1) if kind == "span" else line_end
    if text[begin:end].strip() == "":
        return None
    return Hole(kind, name, text[:begin], text[begin:end], text[end:])


def _statements(tree: ast.AST) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """Statements of one line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or node.end_lineno != node.lineno or _prose(node):
            continue
        if (node.end_col_offset or 0) - node.col_offset > 6:
            yield node, node


def _blocks(tree: ast.AST) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """Whole bodies of two to eight lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not isinstance(node, ast.stmt):
            continue
        inside = [statement for statement in body if not _prose(statement)]
        if not inside or inside[0].lineno == node.lineno:
            continue
        if 2 <= (inside[-1].end_lineno or 0) - inside[0].lineno + 1 <= 8:
            yield inside[0], inside[-1]


def _prose(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def main(argv: list[str]) -> int:
    """Print a row a version and kind."""
    parser = argparse.ArgumentParser(
        prog="tabwright parse-bench",
        description="Measure after how many completions a file still parses, raw and cut.",
        epilog="example: tabwright parse-bench --holes 400 --json",
    )
    parser.add_argument("--artifact", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--holes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=int, default=0, help="print so many that do not parse")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    artifact = ModelArtifact.load(args.artifact)
    holes = cut_holes(args.source, args.holes, args.seed)
    found = {name: anyio.run(measure, artifact, holes, name) for name in ("off", *VERSIONS)}
    found["nothing"] = [Answer("", 0)] * len(holes)
    rows = [row for name, answers in found.items() for row in summary(name, holes, answers)]
    costs = [cost(name, holes, found["off"]) for name in ("off", *VERSIONS)]
    if args.json:
        report = {"rows": list(map(asdict, rows)), "cost": list(map(asdict, costs))}
        print(json.dumps(report, indent=2))
        return 0
    _print(rows, costs)
    _print_failures(holes, found[list(VERSIONS)[-1]], args.failures)
    return 0


def _print_failures(holes: Sequence[Hole], answers: Sequence[Answer], most: int) -> None:
    bad = [pair for pair in zip(holes, answers, strict=True) if not parses(pair[0], pair[1].text)]
    for hole, answer in bad[:most]:
        print(f"\n{hole.kind}, {hole.path}: {hole.prefix[-120:]}⟦{answer.text}⟧{hole.suffix[:80]}")


def _print(rows: Sequence[Row], costs: Sequence[Cost]) -> None:
    print("version  kind      holes  parses   with text  empty    exact    chars  tokens")
    for r in rows:
        print(
            f"{r.version:<8} {r.kind:<9} {r.holes:<6} {r.parses:<8.1%} {r.parses_filled:<10.1%} "
            f"{r.empty:<8.1%} {r.exact:<8.1%} {r.chars:<6.1f} {r.tokens:.1f}"
        )
    for c in costs:
        print(f"{c.version}: {c.request_us:.0f} µs a request, {c.token_us:.1f} µs a token")
