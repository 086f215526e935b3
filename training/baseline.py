"""Held-out loss and exact match of n-gram models, and of a checkpoint on the very same questions.

Loss: nats per token over the first held-out rows, every next token, no holes and no headers; an
example's first id is not counted, as in training. Exact match: single-line holes of `holes.py`;
an n-gram model goes on from the left until the line ends, a checkpoint is asked as the gateway
asks it (prefix and suffix). Read `compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.config import DataSection
from training.data.shards import HELD_OUT, TRAIN, open_shards
from training.holes import Hole, cut_holes
from training.loader import IGNORE
from training.ngram import KneserNey
from training.reading import open_loader

_LONGEST = 48  # ids of an answer


@dataclass(frozen=True, slots=True)
class Worth:
    """What one model is worth. trained_on: its tokens; 0: a checkpoint's manifest has them."""

    model: str
    held_out_loss: float
    exact_match: float
    tokens: int
    holes: int
    trained_on: int = 0

    def row(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def compare(
    data: Path, orders: Sequence[int], tokens: int, *, rows: int, context: int, holes: int,
    checkpoints: Sequence[Path] = (),
) -> Iterator[Worth]:  # fmt: skip
    """Measure n-gram models of the first `tokens` training ids, then the checkpoints."""
    tokenizer = Tokenizer.from_file(data / "tokenizer.json")
    end = FimFormat.bind("tabwright", tokenizer).stop_ids[0]
    plain = DataSection(
        context=context, batch_rows=rows, micro_rows=rows, fim_rate=0, header_rate=0
    )
    read = open_loader(plain, data, HELD_OUT).batch(0, rows)
    questions = list(cut_holes(data, holes))
    learnt = list(_documents(data, end, tokens)) if orders else []
    size = sum(map(len, learnt))
    for order in orders:
        model = KneserNey.of(learnt, tokenizer.vocab_size, order)
        nats = [
            model.nats(ids)[1:]
            for ids in _examples(read.inputs_BT, read.targets_BT, read.documents_BT)
        ]
        right = sum(_continued(model, tokenizer, end, q.prefix) == q.middle for q in questions)
        yield Worth(
            f"Kneser-Ney {order}-gram", float(np.concatenate(nats).mean()),
            right / len(questions), sum(map(len, nats)), len(questions), size,
        )  # fmt: skip
    for checkpoint in checkpoints:
        yield _of_checkpoint(checkpoint, tokenizer, read.inputs_BT, read.targets_BT, questions)


def _documents(data: Path, end: int, tokens: int) -> Iterator[Sequence[int]]:
    left = tokens
    for shard in open_shards(data, TRAIN):
        for entry in shard.entries:
            if left <= 0:
                return
            take = min(entry.tokens, left)
            whole = [end] if take == entry.tokens else []
            yield [*shard.ids[entry.start : entry.start + take].tolist(), *whole]
            left -= take


def _examples(
    inputs_BT: npt.NDArray[Any], targets_BT: npt.NDArray[Any], documents_BT: npt.NDArray[Any]
) -> Iterator[list[int]]:
    """The ids of each example, so far as the rows hold them."""
    for inputs, targets, documents in zip(inputs_BT, targets_BT, documents_BT, strict=True):
        for number in range(int(documents.max()) + 1):
            at = np.flatnonzero(documents == number)
            last = targets[at[-1] : at[-1] + 1]  # the row's last target has no input of its own
            yield [*inputs[at].tolist(), *last[last != IGNORE].tolist()]


def _continued(model: KneserNey, tokenizer: Tokenizer, end: int, prefix: str) -> str:
    ids = tokenizer.encode(prefix)
    written: list[int] = []
    while len(written) < _LONGEST:
        ids.append(int(model.next_shares(ids[-model.order :]).argmax()))
        if ids[-1] == end:
            break
        written.append(ids[-1])
        if b"\n" in tokenizer.token_bytes(ids[-1]):
            break
    return tokenizer.decode(written).partition("\n")[0]


def _of_checkpoint(
    checkpoint: Path, tokenizer: Tokenizer, inputs_BT: npt.NDArray[Any],
    targets_BT: npt.NDArray[Any], questions: Sequence[Hole],
) -> Worth:  # fmt: skip
    import torch
    import torch.nn.functional as F
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint / "model", dtype=torch.float32)
    loss, counted = 0.0, int((targets_BT != IGNORE).sum())
    with torch.no_grad():
        for inputs, targets in zip(inputs_BT, targets_BT, strict=True):
            logits_TV = model(input_ids=torch.from_numpy(inputs.copy())[None]).logits[0]
            wanted = torch.from_numpy(targets.copy())
            loss += float(F.cross_entropy(logits_TV, wanted, ignore_index=IGNORE, reduction="sum"))
    fim = FimFormat.bind("tabwright", tokenizer, "spm")
    room = int(model.config.max_position_embeddings) - _LONGEST - fim.overhead(fill=True)
    answer = _answerer(model, tokenizer, fim, room)
    right = sum(answer(question) == question.middle for question in questions)
    return Worth(
        f"checkpoint {checkpoint.name}", loss / counted, right / len(questions), counted,
        len(questions),
    )  # fmt: skip


def _answerer(model: Any, tokenizer: Tokenizer, fim: FimFormat, room: int) -> Callable[[Hole], str]:
    import torch

    def answer(hole: Hole) -> str:
        suffix = tokenizer.encode(hole.suffix)[: room // 4]
        prefix = tokenizer.encode(hole.prefix)[-(room - len(suffix)) :]
        prompt = torch.tensor([fim.prompt(prefix, suffix)])
        with torch.no_grad():
            out = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=_LONGEST,
                do_sample=False, use_cache=True, eos_token_id=list(fim.stop_ids),
                pad_token_id=fim.stop_ids[0],
            )  # fmt: skip
        written: list[int] = out[0, prompt.size(1) :].tolist()
        return tokenizer.decode(written).partition("\n")[0]

    return answer
