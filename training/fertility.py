"""Characters that a token holds in each language: a run's vocabulary against others.

One has the same size and rules, and is learnt from the prose that a Python environment brings
(`.rst`, `.md`, `.txt`). The other is GPT-2's (50,257 tokens), for those who have its two files: no
package that is needed here brings them. Read `fertility` first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from tokenizers import Tokenizer as HubTokenizer
from tokenizers import decoders, models, pre_tokenizers

from tabwright.errors import ConfigError
from tabwright.tokenizer import Tokenizer
from training.data.cleaning import STEP as CLEAN
from training.data.packing import TOKENIZER
from training.data.run import Run
from training.tokenizer import train_tokenizer

_PROSE = (".rst", ".md", ".txt")
# Names of its vocabulary and its merges: as OpenAI published them, and as Hugging Face does.
_GPT2_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
_PER_LANGUAGE = 500_000  # characters
_PROSE_CHARACTERS = 20_000_000


class Fertility(NamedTuple):
    """Characters a token of one language: the run's vocabulary, that of prose, and GPT-2's."""

    language: str
    characters: int
    own: float
    prose: float
    gpt2: float | None


def fertility(run: Run, prose: Path, gpt2: Path | None = None) -> list[Fertility]:
    """Measure every language of a run.

    `prose` is a folder with texts to learn the other vocabulary from, `gpt2` one with the two files
    of GPT-2's.

    Raises:
        ConfigError: the run has no vocabulary yet, the folder has no prose, or not GPT-2's files.
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
    vocabularies = [own, other, *([_read_gpt2(gpt2)] if gpt2 else [])]
    rows = []
    for language, sample in sorted(_samples(run).items()):
        size = sum(map(len, sample))
        held = [size / sum(len(v.encode(text)) for text in sample) for v in vocabularies]
        rows.append(Fertility(language, size, held[0], held[1], held[2] if gpt2 else None))
    return rows


def _read_gpt2(folder: Path) -> Tokenizer:
    """Make a tokenizer of a vocabulary and its merges.

    Raises:
        ConfigError: the files are not there, or do not belong together.
    """
    for names in _GPT2_FILES:
        vocabulary, merges = (str(folder / name) for name in names)
        if not (folder / names[0]).is_file() or not (folder / names[1]).is_file():
            continue
        try:
            tokenizer = HubTokenizer(models.BPE(*models.BPE.read_file(vocabulary, merges)))
        except Exception as error:  # the binding raises bare Exception
            raise ConfigError(f"--gpt2 {folder}: {error}") from error
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return Tokenizer(tokenizer.to_str())
    pairs = ", nor ".join(" and ".join(names) for names in _GPT2_FILES)
    raise ConfigError(f"--gpt2 {folder}: neither {pairs} are there")


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
