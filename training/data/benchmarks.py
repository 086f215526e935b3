"""The tasks of all benchmarks as sets of n-grams, and which tasks a text holds.

A task is looked for as its prompt, as its solution (the code of prompt and reference without
comments), as its reference alone and as its tests. A text counts as met when enough of its n-grams
of words are in the document: all of them for `prompt`, `solution` or `tests`, else `near`. Words
are those of `minhash.py`, so blanks, line ends and punctuation do not matter. What is too short to
be told from other code, or allowed by the configuration, is not looked for.
Read `Index.find`, then `load_index`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.problem import Benchmark, Problem
from evalkit.registry import benchmark_names, load_benchmark
from tabwright.errors import ConfigError, InvalidRequest, MissingExtra
from training.data.config import Contamination
from training.data.minhash import Hashes, family, grams, words

# Fewer words than these are trivial: a sum of two numbers is in no benchmark's debt.
_MIN_WORDS = {"prompt": 16, "solution": 16, "reference": 24, "tests": 24}
_HEAD_BITS = 23
_TAIL = np.uint64(64 - _HEAD_BITS)
_COMMENTS = re.compile(
    r'"""[\s\S]*?"""|' + r"'''[\s\S]*?'''|/\*[\s\S]*?\*/|<!--[\s\S]*?-->"
    r"|^[ \t]*(?:#|//|--|;|%).*$",
    re.MULTILINE,
)


class Task(NamedTuple):
    """One text of one task of a benchmark."""

    benchmark: str
    task_id: str
    kind: str

    @property
    def evidence(self) -> str:
        """As a tag has it."""
        return " ".join(self)


def task_of(evidence: str) -> Task:
    """Read a tag's evidence back; only the task's id may hold blanks."""
    benchmark, _, rest = evidence.partition(" ")
    task_id, _, kind = rest.rpartition(" ")
    return Task(benchmark, task_id, kind)


@dataclass(frozen=True, slots=True)
class Index:
    """Every n-gram of every text, in ascending order, with the number of its text.

    needed: how many n-grams of a text must be in a document; sizes: how many it has; head: which
    first bits some n-gram has, so that most of a document's are passed over at once.
    """

    head: npt.NDArray[np.bool_]
    grams: Hashes
    owners: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    needed: npt.NDArray[np.int64]
    tasks: tuple[tuple[Task, ...], ...]
    ngram: int

    def find(self, text: str) -> list[Task]:
        """Name the tasks that a document holds, each kind once, in a stable order."""
        raw = text.encode("utf-8", "surrogatepass")
        hashes = family(self.ngram, 1, 1)
        every = grams(words(raw, hashes), self.ngram, hashes)
        found = np.unique(every[self.head[every >> _TAIL]])
        first = np.searchsorted(self.grams, found, "left")
        last = np.searchsorted(self.grams, found, "right")
        met = np.flatnonzero(last > first)
        if not len(met):
            return []
        at = np.concatenate([np.arange(first[i], last[i]) for i in met])
        counts = np.bincount(self.owners[at], minlength=len(self.sizes))
        hits: set[Task] = set()
        for number in np.flatnonzero(counts >= self.needed):
            whole = counts[number] == self.sizes[number]
            hits.update(t if whole else t._replace(kind="near") for t in self.tasks[number])
        return sorted(hits)


class _Text(NamedTuple):
    task: Task
    words: Hashes


def load_index(config: Contamination) -> Index:
    """Index the benchmarks that the configuration names, or all that are present.

    Raises:
        ConfigError: one that it names cannot be loaded.
    """
    return _load(config.model_dump_json())


@cache
def _load(config_json: str) -> Index:
    config = Contamination.model_validate_json(config_json)
    hashes = family(config.ngram, 1, 1)
    allowed = {_words(text).tobytes() for text in config.allow}
    same: dict[bytes, tuple[Hashes, set[Task]]] = {}
    for benchmark in present(config).values():
        for task, found in _texts(benchmark):
            if len(found) >= config.ngram and found.tobytes() not in allowed:
                mine = np.unique(grams(found, config.ngram, hashes))
                same.setdefault(mine.tobytes(), (mine, set()))[1].add(task)
    sets = [mine for mine, _ in same.values()]
    sizes = np.array([len(mine) for mine in sets], dtype=np.int64)
    everything = np.concatenate([np.zeros(0, dtype=np.uint64), *sets])
    order = np.argsort(everything, kind="stable")
    head = np.zeros(2**_HEAD_BITS, dtype=bool)
    head[everything >> _TAIL] = True
    return Index(
        head=head,
        grams=everything[order],
        owners=np.repeat(np.arange(len(sets)), sizes)[order],
        sizes=sizes,
        needed=np.ceil(sizes * config.share).astype(np.int64),
        tasks=tuple(tuple(sorted(tasks)) for _, tasks in same.values()),
        ngram=config.ngram,
    )


def present(config: Contamination) -> Mapping[str, Benchmark]:
    """Load the benchmarks to look for: those named, or every one whose files are here.

    Raises:
        ConfigError: one that is named cannot be loaded.
    """
    loaded = {}
    for name in config.benchmarks or benchmark_names():
        try:
            loaded[name] = load_benchmark(name, config.files.get(name))
        except (InvalidRequest, MissingExtra) as error:
            if name in config.benchmarks or name in config.files:
                raise ConfigError(f"contamination.benchmarks: {name}: {error}") from error
    if unknown := set(config.files) - set(loaded):
        raise ConfigError(f"contamination.files: no benchmark {', '.join(sorted(unknown))}")
    return loaded


def _texts(benchmark: Benchmark) -> Iterator[_Text]:
    for language in benchmark.languages:
        for problem in benchmark.problems(language):
            for looked_for, text in _forms(problem):
                found = _words(text)
                if len(found) >= _MIN_WORDS[looked_for]:
                    kind = "solution" if looked_for == "reference" else looked_for
                    yield _Text(Task(benchmark.name, problem.task_id, kind), found)


def _forms(problem: Problem) -> Iterator[tuple[str, str]]:
    if problem.suffix is None:
        yield "prompt", problem.prompt
    yield "tests", "\n".join(_strings(problem.tests))
    if problem.reference is not None:
        complete = problem.prompt + problem.reference + (problem.suffix or "")
        yield "solution", _COMMENTS.sub("", complete)
        yield "reference", _COMMENTS.sub("", problem.reference)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            yield from (text for inner in value.values() for text in _strings(inner))
        case list() | tuple():
            yield from (text for inner in value for text in _strings(inner))


def _words(text: str) -> Hashes:
    return words(text.encode("utf-8", "surrogatepass"), family(1, 1, 1))
