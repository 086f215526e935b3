"""What the model answers while it learns: held-out holes, fixed prompts, the loss by language.

Answers are the likeliest ids one after the other, until the line or the text ends. Holes that the
context has no room for are cut around the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.batch import Batch
from training.config import TrackingSection
from training.data.shards import HELD_OUT, open_shards
from training.holes import Hole, cut_holes
from training.observation.answers import Continue

if TYPE_CHECKING:
    from training.run import Run


class Answer(NamedTuple):
    """What was put between prefix and suffix."""

    prefix: str
    suffix: str
    middle: str


class Questions:
    """The same questions all through a run."""

    def __init__(self, data: Path, tracking: TrackingSection, fim: FimFormat, context: int) -> None:
        """Cut the holes; their choice depends on the data alone."""
        self._tokenizer = Tokenizer.from_file(data / "tokenizer.json")
        self._fim, self._context = fim, context
        self._longest, self._prompts = tracking.answer_tokens, tracking.prompts
        self.holes: tuple[Hole, ...] = tuple(
            cut_holes(data, tracking.holes) if tracking.holes else ()
        )
        self._language = {
            entry.id: entry.language
            for shard in open_shards(data, HELD_OUT)
            for entry in shard.entries
        }

    def exact_match(self, model: Any, after: Continue) -> float | None:
        """Share of the holes whose line `model` ends as its author did, None without any.

        after: how it continues (`training.observation.answers`).
        """
        if not self.holes:
            return None
        with _evaluating(model):
            hits = sum(
                self._answer(after, hole.prefix, hole.suffix, line=True) == hole.middle
                for hole in self.holes
            )
        return hits / len(self.holes)

    def samples(self, model: Any, after: Continue) -> list[Answer]:
        """Fill the fixed prompts."""
        with _evaluating(model):
            return [
                Answer(one.prefix, one.suffix, self._answer(after, one.prefix, one.suffix))
                for one in self._prompts
            ]

    @torch.no_grad()
    def loss_by_language(self, run: Run) -> dict[str, float]:
        """Mean loss of the held-out rows' tokens by language; every rank must call."""
        config, layout = run.config, run.layout
        rows = run.held_out.batch(0, config.run.eval_rows)
        names = sorted(set(self._language.values()))
        sums = torch.zeros(2, len(names), device=run.device, dtype=torch.float64)
        pieces = list(Batch.of(rows, run.device).micro(config.data.micro_rows))
        for at in range(0, len(pieces), layout.row_ranks):
            number = min(at + layout.row_rank, len(pieces) - 1)
            nats_BT = run.nats(pieces[number])
            if at + layout.row_rank < len(pieces):
                first = number * config.data.micro_rows
                _add(sums, names, nats_BT, pieces[number], self._languages(rows.samples[first:]))
        losses, counted = layout.total(sums)
        found = zip(names, losses.tolist(), counted.tolist(), strict=True)
        return {name: loss / count for name, loss, count in found if count}

    def _languages(self, samples: Sequence[Sequence[str]]) -> list[list[str | None]]:
        return [[self._language.get(name.rpartition(":")[0]) for name in row] for row in samples]

    def _answer(self, after: Continue, prefix: str, suffix: str, *, line: bool = False) -> str:
        answer: list[int] = []
        for chosen in islice(after(self._fitted(prefix, suffix)), self._longest):
            if chosen in self._fim.stop_ids:
                break
            answer.append(chosen)
            text = self._tokenizer.decode(answer)
            if line and "\n" in text:
                return text.partition("\n")[0]
        return self._tokenizer.decode(answer)

    def _fitted(self, prefix: str, suffix: str) -> list[int]:
        """The prompt's ids, cut so that an answer fits behind them."""
        before, after = (self._tokenizer.encode(text) for text in (prefix, suffix))
        room = self._context - self._longest - self._fim.overhead(fill=True)
        keep = max(room - len(after), room * 3 // 4)
        before = before[max(0, len(before) - keep) :]
        return self._fim.prompt(before, after[: max(0, room - len(before))] if suffix else None)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _add(
    sums: torch.Tensor, names: list[str], nats_BT: torch.Tensor, batch: Batch,
    languages: list[list[str | None]],
) -> None:  # fmt: skip
    """Add nats and counts of each language's tokens; what is no document of a shard is left out."""
    learnt_BT = batch.targets_BT >= 0
    for row, spoken in enumerate(languages[: len(batch)]):
        for within, language in enumerate(spoken):
            if language is None:
                continue
            here_T = learnt_BT[row] & (batch.documents_BT[row] == within)
            sums[0, names.index(language)] += nats_BT[row][here_T].sum()
            sums[1, names.index(language)] += here_T.sum()
