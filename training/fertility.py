"""Characters that a token holds in each language: a run's vocabulary against one of prose.

The other vocabulary has the same size and rules, and is learnt from the prose that a Python
environment brings (`.rst`, `.md`, `.txt`). GPT-2's is not compared: it does not come with any
package that is needed here. Read `fertility` first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.data.cleaning import STEP as CLEAN
from training.data.packing import TOKENIZER
from training.data.run import Run
from training.tokenizer import train_tokenizer

_PROSE = (".rst", ".md", ".txt")
_PER_LANGUAGE = 500_000  # characters
_PROSE_CHARACTERS = 20_000_000


class Fertility(NamedTuple):
    """Characters a token of one language, with the run's vocabulary and with that of prose."""

    language: str
    characters: int
    own: float
    prose: float


def fertility(run: Run, prose: Path) -> list[Fertility]:
    """Measure every language of a run; `prose` is a folder with texts to learn the other from.

    Raises:
        ConfigError: the run has no vocabulary yet, or the folder has no prose.
    """
    if not (run.folder / TOKENIZER).exists():
        raise ConfigError(f"{run.folder}: no vocabulary yet; finish the run")
    own = Tokenizer.from_file(run.folder / TOKENIZER)
    texts = list(_prose(prose))
    if not texts:
        raise ConfigError(f"--prose {prose}: no {', '.join(_PROSE)} below it")
    with tempfile.TemporaryDirectory() as scratch:
        train_tokenizer(texts, own.vocab_size, Path(scratch) / TOKENIZER)
        other = Tokenizer.from_file(Path(scratch) / TOKENIZER)
    rows = []
    for language, sample in sorted(_samples(run).items()):
        size = sum(map(len, sample))
        counts = [sum(len(t.encode(text)) for text in sample) for t in (own, other)]
        rows.append(Fertility(language, size, size / counts[0], size / counts[1]))
    return rows


def _prose(folder: Path) -> Iterator[str]:
    read = 0
    for file in sorted(p for p in folder.rglob("*") if p.suffix in _PROSE and p.is_file()):
        if read > _PROSE_CHARACTERS:
            return
        text = file.read_text("utf-8", "replace")
        read += len(text)
        yield text


def _samples(run: Run) -> dict[str, list[str]]:
    """The first documents of each language that fit."""
    samples: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for part in range(len(run.parts)):
        with pq.ParquetFile(run.part(CLEAN, part)) as file:
            for batch in file.iter_batches(256, columns=["language", "text"]):
                for row in batch.to_pylist():
                    language, text = row["language"], row["text"]
                    if text and sizes.get(language, 0) + len(text) <= _PER_LANGUAGE:
                        sizes[language] = sizes.get(language, 0) + len(text)
                        samples.setdefault(language, []).append(text)
    return samples
