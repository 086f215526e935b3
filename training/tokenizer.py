"""Train the byte-level BPE tokenizer of our own models.

Digits are single tokens, runs of blanks merge, every byte has a token, and the sentinels of the
`tabwright` family are control tokens with the lowest ids, followed by spare ones for chat and for
denoising (`training/examples/sentinels.py`). Encoding and decoding are in
`tabwright.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tabwright.fim import FAMILIES
from training.data.cleaning import STEP
from training.data.run import Run
from training.data.shards import TRAIN
from training.examples.sentinels import SPARE


def train_tokenizer(texts: Iterable[str], vocab_size: int, target: Path) -> None:
    """Learn `vocab_size` tokens from `texts` and write `target` (a `tokenizer.json`)."""
    family = FAMILIES["tabwright"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[
            *family.stop,
            *(sentinel for sentinel in family.sentinels if sentinel not in family.stop),
            *SPARE,
        ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    target.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(target))


def sample_texts(run: Run) -> Iterator[str]:
    """Yield texts of a run's training documents, each language by the square root of its share.

    Which documents are taken follows from their ids alone, so the vocabulary is the same whatever
    the engine and the number of workers.
    """
    sizes: dict[str, int] = {}
    for row in _rows(run, ["language", "split", "text"]):
        sizes[row["language"]] = sizes.get(row["language"], 0) + len(row["text"])
    room = run.config.tokenizer.sample_mb << 20
    roots = {language: size**0.5 for language, size in sizes.items()}
    everything = sum(roots.values()) or 1.0
    shares = {
        language: min(1.0, room * roots[language] / (everything * max(size, 1)))
        for language, size in sizes.items()
    }
    for row in _rows(run, ["language", "split", "text", "id"]):
        if int(row["id"][:8], 16) < shares[row["language"]] * 2**32:
            yield row["text"]


def _rows(run: Run, columns: list[str]) -> Iterator[dict[str, str]]:
    for part in range(len(run.parts)):
        with pq.ParquetFile(run.part(STEP, part)) as file:
            for batch in file.iter_batches(256, columns=columns):
                yield from (row for row in batch.to_pylist() if row["split"] == TRAIN)
