"""The clients of `server.conformance`: one that asks and leaves, and some that keep slots taken.

Knows the address, the model and the protocols' ways to ask, nothing of what is measured.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from server.conformance_protocols import Speech
from server.raw_client import Exchange, Target, Unreachable, send

LONG = 400  # tokens of a request that is to be abandoned
_PROMPT_CHARS = 1200
_KEPT, _TRIED = 3, 8  # prompts of a protocol: models end some answers after a word
_LASTS_S = 1.0
_SAMPLE_S = 3.0  # how long an answer is looked at


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a server answers when it has nothing else to do."""

    first_s: float
    gaps_s: list[float]
    answer_s: float

    def token_s(self) -> float:
        """The usual time between two pieces."""
        return statistics.median(self.gaps_s) if self.gaps_s else 0.0


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one server. Each prompt is another piece of our own source with a head of its own,
    so none is in a cache."""

    target: Target
    model: str
    _source: str = field(default_factory=lambda: Path(__file__).read_text(encoding="utf-8"))
    _starts: dict[str, list[int]] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=count)

    def ask(
        self,
        speech: Speech,
        *,
        tokens: int = LONG,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        target: Target | None = None,
    ) -> AbstractAsyncContextManager[Exchange]:
        """Ask for a completion; leaving the block abandons it."""
        turn = next(self._turns)
        kept = self._starts.get(speech.name)
        start = kept[turn % len(kept)] if kept else 0
        prompt = f"# {uuid.uuid4().hex}\n{self._source[start : start + _PROMPT_CHARS]}"
        path, body = speech.ask(prompt, tokens, self.model, stream=stream)
        # Ours would end an answer that is decided; others do not know the header.
        whole = {"Connection": "close", "X-Tabwright-Postprocess": "off"}
        headers = {**whole, **(headers or {})}
        return send(target or self.target, path, body, headers=headers)

    async def pace(self, speech: Speech) -> Pace:
        """Try some prompts, and ask with those that were answered longest from now on."""
        tried: list[tuple[Pace, int]] = []
        for turn in range(_TRIED):
            start = turn * 397 % (len(self._source) - _PROMPT_CHARS)
            self._starts[speech.name] = [start]
            tried.append((await self._look(speech), start))
            if sum(pace.answer_s >= _LASTS_S for pace, _ in tried) == _KEPT:
                break
        best = sorted(tried, key=lambda row: -row[0].answer_s)[:_KEPT]
        self._starts[speech.name] = [start for _, start in best]
        paces = [pace for pace, _ in best]
        return Pace(
            statistics.median(pace.first_s for pace in paces),
            [gap for pace in paces for gap in pace.gaps_s],
            statistics.median(pace.answer_s for pace in paces),
        )

    async def _look(self, speech: Speech) -> Pace:
        sent = time.perf_counter()
        async with self.ask(speech, stream=bool(speech.stream_path)) as answer:
            with anyio.move_on_after(_SAMPLE_S):
                await answer.rest()
            answer_s = time.perf_counter() - sent
        first_s = answer.arrivals_s[0] - sent if answer.arrivals_s else answer_s
        return Pace(first_s, _gaps(answer), answer_s)


async def flows(answer: Exchange, speech: Speech, pieces: int = 3) -> bool:
    """Read a few pieces; whether more will come."""
    while answer.body.count(speech.mark) < pieces and await answer.receive():
        pass
    return answer.status == 200 and not answer.ended


async def silent(answer: Exchange, wait_s: float) -> bool:
    """Wait; whether nothing at all has come by then."""
    with anyio.move_on_after(wait_s):
        await answer.receive()
    return answer.status == 0 and not answer.ended


class Load:
    """Streams that keep slots taken: when an answer ends, the next is asked for."""

    def __init__(self, client: Client, speech: Speech, pace: Pace, tasks: TaskGroup) -> None:
        """Ask by `client` in tasks of `tasks`; nobody does yet. `pace` is the speech's."""
        self._client, self._speech, self._tasks = client, speech, tasks
        self.pace = pace
        self._scopes: list[anyio.CancelScope] = []
        self.ended = 0
        self.gaps_s: list[float] = []

    def __len__(self) -> int:
        """Count the streams."""
        return len(self._scopes)

    async def add(self, patience_s: float) -> bool:
        """Start one more; whether its first piece came in time."""
        scope, flowing = anyio.CancelScope(), anyio.Event()
        self._scopes.append(scope)
        self._tasks.start_soon(self._hold, scope, flowing)
        with anyio.move_on_after(patience_s):
            await flowing.wait()
        return flowing.is_set()

    def drop(self, count: int) -> None:
        """End the youngest."""
        for _ in range(min(count, len(self._scopes))):
            self._scopes.pop().cancel()

    async def _hold(self, scope: anyio.CancelScope, flowing: anyio.Event) -> None:
        with scope:
            while True:
                try:
                    async with self._client.ask(self._speech, stream=True) as answer:
                        while await answer.receive():
                            if answer.status == 200 and answer.body:
                                flowing.set()
                    self.gaps_s += _gaps(answer)
                    refused = answer.status != 200
                except Unreachable:
                    refused = True
                self.ended += 1
                if refused:
                    await anyio.sleep(0.05)


def _gaps(answer: Exchange) -> list[float]:
    return [after - before for before, after in pairwise(answer.arrivals_s)]
