"""The seam between the gateway and whatever runs a model: token ids in, token ids out.

Implementations live in `server/engines/` and are held to `tests/contracts/test_engines.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from tabwright.artifact import ModelArtifact
from tabwright.request import Finish, Ranking, SamplingParams, ScoredPrompt


@dataclass(frozen=True, slots=True)
class Tokens:
    """Newly generated ids with the natural-log probability of each; `finish` on the last ones.

    A stop token ends the stream and is not among `ids`, so the last piece may be empty.
    alternatives: a ranking for each of `ids`, where the request asks for them. prompt: on the first
    piece, where the request asks for `prompt_logprobs`.
    queued_s: how long the request had waited before the engine began with it.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish | None = None
    alternatives: tuple[Ranking, ...] = ()
    prompt: ScoredPrompt | None = None
    queued_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What the engine holds right now. `running` + `waiting` is 0 when nothing is leaked."""

    running: int = 0
    waiting: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    generated_tokens: int = 0
    cancelled: int = 0
    restarts: int = 0


class CompletionEngine(Protocol):
    """Runs one model."""

    @property
    def artifact(self) -> ModelArtifact:
        """The model that is served."""

    @property
    def max_context(self) -> int:
        """Largest prompt + generated tokens of one request."""

    @property
    def refuses(self) -> frozenset[str]:
        """Fields of `OPTIONAL_SAMPLING` that it cannot do, and so refuses by name."""

    def stream(
        self, prompt: Sequence[int], sampling: SamplingParams
    ) -> AbstractAsyncContextManager[AsyncIterator[Tokens]]:
        """Generate after `prompt`. Leaving the block, in any way, frees what the request held.

        Raises:
            InvalidRequest: empty prompt, an id outside the vocabulary, no room in the context, or a
                field that it `refuses`.
            EngineOverloaded: no slot and no place in the waiting line.
            EngineUnavailable: the engine is not up.
            EngineFailed: it died while this request was running.
        """

    def stats(self) -> EngineStats:
        """Count what is held."""

    async def check(self) -> None:
        """Return when the engine can really answer.

        Raises:
            EngineUnavailable: it cannot.
        """

    async def aclose(self) -> None:
        """End the engine and every request in it."""
