"""An engine without a model: it recites, at a pace and with the accidents it is told to have.

For tests and demonstrations of everything around an engine. It obeys the whole contract: ids and
lengths are checked, slots and the waiting line are bounded, leaving a stream frees its slot. Its
probabilities are made up (`scripted_scores.py`), and what changes them works on those.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import anyio

from server.engines.limits import tokens_granted
from server.engines.line import Line, State, Ticket, blocks_for
from server.engines.scripted_scores import ScriptedScores, changes
from tabwright.artifact import ModelArtifact
from tabwright.engine import EngineStats, Tokens
from tabwright.errors import EngineFailed, EngineUnavailable
from tabwright.request import Finish, SamplingParams

_ANSWER = """\
len(items)):
        total += items[i]
    return total


def mean(items):
    return sum(items) / len(items)


def median(items):
    middle = sorted(items)[len(items) // 2]
    return middle
"""


@dataclass(frozen=True, slots=True)
class ScriptedSettings:
    """How to recite.

    answer: the text of every answer; `respond`, where given, chooses the ids per request instead.
    first_delay_s, token_delay_s: pace. slots, waiting: as in every engine. fail_after: raise
    EngineFailed after so many tokens. max_context: None means the artifact's. refuses: fields of
    `OPTIONAL_SAMPLING` that it is to refuse, like an engine that cannot do them.
    """

    answer: str = _ANSWER
    respond: Callable[[Sequence[int], SamplingParams], Sequence[int]] | None = None
    first_delay_s: float = 0.0
    token_delay_s: float = 0.0
    slots: int = 8
    waiting: int = 32
    fail_after: int | None = None
    max_context: int | None = None
    refuses: frozenset[str] = frozenset()


def create(artifact: ModelArtifact, **options: object) -> ScriptedEngine:
    """Make the engine for the registry; options are the fields of `ScriptedSettings`."""
    return ScriptedEngine(artifact, ScriptedSettings(**options))  # type: ignore[arg-type]


class ScriptedEngine:
    """A `CompletionEngine` that recites.

    `broken` may be set at any time: while True, requests fail and `check` refuses.
    """

    def __init__(self, artifact: ModelArtifact, settings: ScriptedSettings | None = None) -> None:
        """Make an engine; it answers inside `async with`."""
        self._artifact = artifact
        self._settings = settings or ScriptedSettings()
        self._answer = artifact.tokenizer.encode(self._settings.answer)
        self._line = Line(
            slots=self._settings.slots,
            waiting=self._settings.waiting,
            blocks=self._settings.slots * blocks_for(self.max_context),
            start=Ticket.wake,
        )
        self._generated = 0
        self._cancelled = 0
        self.broken = False

    async def __aenter__(self) -> ScriptedEngine:
        self._line.open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def artifact(self) -> ModelArtifact:
        """The model whose tokenizer is used."""
        return self._artifact

    @property
    def max_context(self) -> int:
        """Largest prompt + generated tokens of one request."""
        return self._settings.max_context or self._artifact.max_context

    @property
    def refuses(self) -> frozenset[str]:
        """What the script says."""
        return self._settings.refuses

    @asynccontextmanager
    async def stream(
        self, prompt: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[AsyncIterator[Tokens]]:
        """Recite. See `tabwright.engine.CompletionEngine.stream`."""
        granted = tokens_granted(
            prompt,
            sampling,
            vocab_size=self._artifact.vocab_size,
            max_context=self.max_context,
            refuses=self.refuses,
        )
        if not self._line.open:
            raise EngineUnavailable("the scripted engine is not started")
        ticket = Ticket(tuple(prompt), sampling, granted)
        recital = _Recital(self, ticket, ScriptedScores(ticket, self._artifact.vocab_size))
        self._line.join(ticket)
        try:
            yield recital
        finally:
            self._cancelled += ticket.state is not State.LEFT
            recital.ended = True
            self._line.leave(ticket)

    def stats(self) -> EngineStats:
        """Count what is held."""
        return EngineStats(
            running=len(self._line.running),
            waiting=len(self._line.waiting),
            kv_blocks_used=self._line.blocks_used,
            kv_blocks_total=self._line.blocks,
            generated_tokens=self._generated,
            cancelled=self._cancelled,
        )

    async def check(self) -> None:
        """Return when started and not told to be broken.

        Raises:
            EngineUnavailable: not started, or `broken`.
        """
        if self.broken or not self._line.open:
            raise EngineUnavailable("the scripted engine is not answering")

    async def aclose(self) -> None:
        """Fail whatever runs or waits."""
        self._line.open = False
        for ticket in (*self._line.running.values(), *self._line.waiting):
            ticket.fail(EngineUnavailable("the engine was closed"))
            self._line.leave(ticket)

    async def token(self, ticket: Ticket, position: int) -> None:
        """Wait as long as the token at `position` takes.

        Raises:
            EngineFailed: the script says so.
        """
        settings = self._settings
        delay = settings.first_delay_s if position == 0 else settings.token_delay_s
        if delay:
            await anyio.sleep(delay)
        if self.broken or position == settings.fail_after:
            self.finish(ticket)
            raise EngineFailed(f"scripted failure after {position} tokens")
        self._generated += 1

    def finish(self, ticket: Ticket) -> None:
        """Free what an answer that has ended held."""
        self._line.leave(ticket)

    def answer(self, ticket: Ticket) -> list[int]:
        """Choose the ids that will be recited."""
        sampling = ticket.sampling
        if self._settings.respond is not None:
            return list(self._settings.respond(ticket.prompt, sampling))
        if sampling.temperature == 0 or changes(sampling):
            return self._answer
        # Not cryptography: the same seed must give the same answer.
        return random.Random(sampling.seed).choices(self._answer, k=len(self._answer))


class _Recital:
    """The stream of one request, one token a piece."""

    def __init__(self, engine: ScriptedEngine, ticket: Ticket, scores: ScriptedScores) -> None:
        self._engine = engine
        self._ticket = ticket
        self._scores = scores
        self._answer = engine.answer(ticket)
        self._position = 0
        self.ended = False

    def __aiter__(self) -> _Recital:
        return self

    async def __anext__(self) -> Tokens:
        if self.ended:
            raise StopAsyncIteration
        while self._ticket.state is State.WAITING:
            await self._ticket.wait()
        await anyio.lowlevel.checkpoint()
        self._ticket.raise_failure()
        queued_s = self._ticket.queued_s
        prompt = self._scores.prompt() if self._position == 0 else None
        if self._ticket.granted == 0:
            return self._end(Tokens((), (), Finish.LENGTH, prompt=prompt, queued_s=queued_s))
        if self._position >= len(self._answer):
            return self._end(Tokens((), (), Finish.STOP, prompt=prompt, queued_s=queued_s))
        written = self._answer[self._position]
        chosen = self._scores.choose(written)
        if chosen in self._ticket.sampling.stop_token_ids:
            return self._end(Tokens((), (), Finish.STOP, prompt=prompt, queued_s=queued_s))
        await self._engine.token(self._ticket, self._position)
        self._position += 1
        ended = self._position == self._ticket.granted
        tokens = Tokens(
            (chosen,),
            (self._scores.logprob(chosen, written),),
            Finish.LENGTH if ended else None,
            self._scores.alternatives(written),
            prompt,
            queued_s,
        )
        return self._end(tokens) if ended else tokens

    def _end(self, last: Tokens) -> Tokens:
        self.ended = True
        self._engine.finish(self._ticket)
        return last
