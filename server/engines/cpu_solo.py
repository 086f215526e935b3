"""Requests that need the logits, each decoded by itself beside OpenVINO's pipeline.

The pipeline keeps the logits to itself, and what it makes of them is not enough: it has no logit
bias and no alternatives, its presence and frequency penalties turn round where a logit is negative,
and with `echo` it reads memory that nobody has written (2026.4.1). Here the same converted model
runs as a plain stateful one, whose logits are ours. The price: these requests do not share a step
with others or the prefix cache, and their keys and values lie outside the pool, at most as much
again as the pool holds, because each still has its blocks counted. The model is loaded when the
first of them comes. Read `SoloRequest.advance` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.engines.cpu_messages import Add, Piece, Start
from server.engines.cpu_settings import Precision
from server.engines.ir import MODEL_FILE

if TYPE_CHECKING:
    from server.engines.token_choice import Logits

_BESIDE_OTHERS = 32  # tokens of a prompt in one step; each step of the others waits for them
_SCORED_AT_ONCE = 32  # rows of the vocabulary's size, which are large


def device_properties(start: Start) -> dict[str, object]:
    """How OpenVINO is to compute."""
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if start.threads:
        properties["INFERENCE_NUM_THREADS"] = start.threads
    if Precision(start.precision) is Precision.F32:
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    return properties


class SoloModel:
    """The converted model without the pipeline."""

    def __init__(self, start: Start) -> None:
        """Load nothing yet."""
        self._start = start
        self._compiled: Any = None

    def begin(self, add: Add) -> SoloRequest:
        """Make a request with a state of its own."""
        if self._compiled is None:
            import openvino as ov

            path = Path(self._start.ir_folder) / MODEL_FILE
            self._compiled = ov.Core().compile_model(path, "CPU", device_properties(self._start))
        return SoloRequest(self._compiled.create_infer_request(), add, self._start.chunk_tokens)


class SoloRequest:
    """One request: reads its prompt piece by piece, then generates token by token."""

    def __init__(self, infer: Any, add: Add, chunk_tokens: int) -> None:
        """Begin with nothing computed."""
        self._infer = infer
        self._add = add
        self._chunk_tokens = chunk_tokens
        self._done = 0  # tokens whose keys and values are known
        self._generated = 0
        self._last = -1
        self._chooser: Any = None
        self._prompt_logprobs: list[float | None] = []
        self._prompt_alternatives: list[Sequence[tuple[int, float]]] = []

    @property
    def reading(self) -> bool:
        """Its prompt is not read to the end."""
        return self._done < len(self._add.prompt)

    def advance(self, *, alone: bool = True) -> Piece | None:
        """Compute one chunk of the prompt or one token; None while there is nothing to say.

        alone: nobody in the pipeline waits for the next step meanwhile.
        """
        from server.engines.token_choice import TokenChooser

        add = self._add
        if not self.reading:
            row = self._logits([self._last])[-1]
        else:
            size = self._chunk_tokens if alone else min(_BESIDE_OTHERS, self._chunk_tokens)
            chunk = add.prompt[self._done : self._done + size]
            rows = self._logits(chunk)
            if add.prompt_logprobs:
                self._score(rows)
            if self.reading:
                return None
            row = rows[-1]
            self._chooser = TokenChooser(add, len(row))
        if add.max_tokens == 0:
            return self._piece([], [], "length", [])
        chosen = self._chooser.choose(row.astype("float64"))
        if chosen in add.stop_ids:
            return self._piece([], [], "stop", [])
        self._last = chosen
        self._generated += 1
        finish = "length" if self._generated == add.max_tokens else None
        (logprob,), ranks = self._told(row[None], [chosen])
        return self._piece([chosen], [logprob], finish, ranks)

    def _piece(
        self,
        ids: list[int],
        logprobs: list[float],
        finish: str | None,
        alternatives: list[list[tuple[int, float]]],
    ) -> Piece:
        scores, ranks = self._prompt_logprobs, self._prompt_alternatives
        self._prompt_logprobs, self._prompt_alternatives = [], []
        return Piece(self._add.request, ids, logprobs, finish, alternatives, scores, ranks)

    def _logits(self, ids: list[int]) -> Logits:
        """Compute `ids` after what is done; a row of logits for each, valid until the next call."""
        import numpy as np

        end = self._done + len(ids)
        self._infer.infer(
            {
                "input_ids": np.array([ids], dtype=np.int64),
                "attention_mask": np.ones((1, end), dtype=np.int64),
                "position_ids": np.arange(self._done, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
        )
        self._done = end
        rows: Logits = self._infer.get_tensor("logits").data[0]
        return rows

    def _score(self, rows: Logits) -> None:
        """Note how likely the prompt's own next tokens are; the last row has none in the prompt."""
        if not self._prompt_logprobs:
            self._prompt_logprobs.append(None)
            if self._add.alternatives:
                self._prompt_alternatives.append(())
        following = self._add.prompt[self._done - len(rows) + 1 : self._done + 1]
        for at in range(0, len(following), _SCORED_AT_ONCE):
            part = following[at : at + _SCORED_AT_ONCE]
            logprobs, ranks = self._told(rows[at : at + len(part)], part)
            self._prompt_logprobs += logprobs
            self._prompt_alternatives += ranks

    def _told(
        self, rows: Logits, ids: Sequence[int]
    ) -> tuple[list[float], list[list[tuple[int, float]]]]:
        """How likely each of `ids` was by its row, and the rankings if they are asked for."""
        from server.engines.token_choice import log_total, rankings

        totals = log_total(rows)
        logprobs = [
            min(float(row[i] - total), 0.0) for row, i, total in zip(rows, ids, totals, strict=True)
        ]
        count = self._add.alternatives
        return logprobs, rankings(rows, totals, count) if count else []
