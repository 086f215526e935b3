"""Train the byte-level BPE tokenizer of our own models.

Digits are single tokens, runs of blanks merge, every byte has a token, and the sentinels of the
`tabwright` family are control tokens with the lowest ids. Encoding and decoding are in
`tabwright.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tabwright.fim import FAMILIES


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
        special_tokens=[*family.stop, *(s for s in family.sentinels if s not in family.stop)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    target.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(target))
