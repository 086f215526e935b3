"""The engine that asks Triton: one exported model, on one server or on several.

A request goes to the server that has the fewest; one that falls silent or goes away is left out
until its model answers again, and who had no token from it yet is asked of another. This file keeps
the line; `triton_link.py` has the connection. Read `TritonEngine.stream` first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
import anyio.lowlevel

from server.engines.limits import tokens_granted
from server.engines.line import Line, State, Ticket, blocks_for
from server.engines.triton_link import Link, least_loaded
from tabwright.artifact import ModelArtifact
from tabwright.engine import EngineStats, Tokens
from tabwright.errors import (
    ConfigError,
    EngineFailed,
    EngineOverloaded,
    EngineUnavailable,
    MissingExtra,
    TabwrightError,
)
from tabwright.request import OPTIONAL_SAMPLING, Finish, SamplingParams
from tabwright.tensors import ARTIFACT_DIGEST, MAX_ACTIVE, MAX_CONTEXT, REFUSES, SOURCE_DIGEST

_NEVER = frozenset({"alternatives", "logit_bias", "prompt_logprobs"})
_CHECK_S = 10.0


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """Where to ask.

    urls: host and port of each Triton's gRPC. model: its name there; None means the artifact's.
    slots, waiting: as in every engine. start_timeout_s: for the first answer. stall_timeout_s: a
    server that is silent for so long is given up.
    """

    urls: tuple[str, ...] = ("127.0.0.1:8001",)
    model: str | None = None
    slots: int = 8
    waiting: int = 32
    start_timeout_s: float = 30.0
    stall_timeout_s: float = 2.0


def create(artifact: ModelArtifact, **options: object) -> TritonEngine:
    """Make the engine for the registry; options are the fields of `TritonSettings`."""
    return TritonEngine(artifact, TritonSettings(**options))  # type: ignore[arg-type]


class TritonEngine:
    """A `CompletionEngine` that computes elsewhere. It answers inside `async with`."""

    def __init__(self, artifact: ModelArtifact, settings: TritonSettings | None = None) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            MissingExtra: tritonclient is not installed.
        """
        for module in ("grpc", "tritonclient"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(module, "triton")
        self._artifact = artifact
        self._settings = settings or TritonSettings()
        self._model = self._settings.model or artifact.name
        self._line = Line(
            slots=self._settings.slots,
            waiting=self._settings.waiting,
            blocks=self._settings.slots * blocks_for(artifact.max_context),
            start=self._submit,
        )
        self._refused: dict[str, frozenset[str]] = {}
        self._down: TabwrightError | None = EngineUnavailable("the engine is not started")
        self._group = anyio.create_task_group()
        self._links = [
            Link(url, self._model, self._settings.stall_timeout_s, self)
            for url in self._settings.urls
        ]
        self._asked: dict[Ticket, Link] = {}
        self._begun: set[Ticket] = set()  # who has a token from the server that was asked
        self._generated = self._cancelled = 0

    async def __aenter__(self) -> TritonEngine:
        self._down = self._links[0].error
        await self._group.__aenter__()
        try:
            for link in self._links:
                self._group.start_soon(link.run)
            with anyio.move_on_after(self._settings.start_timeout_s):
                await self._settled()
            refusals = [link.error for link in self._links if isinstance(link.error, ConfigError)]
            if refusals or self._down is not None:
                raise refusals[0] if refusals else self._down or EngineUnavailable("closed")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        await self._group.__aexit__(None, None, None)

    @property
    def artifact(self) -> ModelArtifact:
        """The model that is served."""
        return self._artifact

    @property
    def max_context(self) -> int:
        """Largest prompt + generated tokens of one request."""
        return self._artifact.max_context

    @property
    def refuses(self) -> frozenset[str]:
        """What the exported models say, and what their tensors cannot."""
        return _NEVER.union(*self._refused.values()) if self._refused else OPTIONAL_SAMPLING

    @asynccontextmanager
    async def stream(
        self, prompt: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[AsyncIterator[Tokens]]:
        """Generate. See `tabwright.engine.CompletionEngine.stream`."""
        granted = tokens_granted(
            prompt,
            sampling,
            vocab_size=self._artifact.vocab_size,
            max_context=self.max_context,
            refuses=self.refuses,
        )
        if self._down is not None:
            # The same error answers every request: it must not gather their tracebacks.
            raise self._down.with_traceback(None)
        ticket = Ticket(tuple(prompt), sampling, granted)
        self._line.join(ticket)
        try:
            # The request leaves when the loop turns: before its reader prepares, not after that.
            await anyio.lowlevel.checkpoint()
            yield ticket
        finally:
            ticket.abandon()
            self._leave(ticket)

    def stats(self) -> EngineStats:
        """Count what is held. A cancelled request is held until Triton says that it has ended."""
        return EngineStats(
            running=len(self._line.running),
            waiting=len(self._line.waiting),
            kv_blocks_used=self._line.blocks_used,
            kv_blocks_total=self._line.blocks,
            generated_tokens=self._generated,
            cancelled=self._cancelled,
            restarts=sum(max(0, link.connections - 1) for link in self._links),
        )

    async def check(self) -> None:
        """Return when one token has really been generated.

        Raises:
            EngineUnavailable: none was.
        """
        with anyio.move_on_after(_CHECK_S):
            try:
                async with self.stream([0], SamplingParams(max_tokens=1)) as pieces:
                    async for _ in pieces:
                        pass
            except EngineOverloaded:
                return  # full, and what runs is watched
            except EngineFailed as error:
                raise EngineUnavailable(str(error)) from error
            return
        raise EngineUnavailable(f"no token within {_CHECK_S:.0f} s")

    async def aclose(self) -> None:
        """End every request, and the connections."""
        self._close()
        for link in self._links:
            await link.ended.wait()

    async def _settled(self) -> None:
        """Wait until every server has answered or failed once, and one of them answers."""
        for link in self._links:
            await link.tried.wait()
        while self._down is not None and not isinstance(self._down, ConfigError):  # noqa: ASYNC110
            await anyio.sleep(0.01)  # at the start only, for a server that is starting too

    def _close(self) -> None:
        self._down = EngineUnavailable("the engine was closed")
        self._line.open = False
        for ticket in list(self._line.waiting):
            ticket.fail(self._down)
            self._line.leave(ticket)
        for link in self._links:
            link.close()
        for ticket in list(self._line.running.values()):
            ticket.fail(self._down)
            self._line.leave(ticket)
        self._asked.clear()

    # Requests.

    def _submit(self, ticket: Ticket) -> None:
        """Send a request whose turn it is."""
        link = self._asked[ticket] = least_loaded(self._links)
        link.ask(ticket)

    def _leave(self, ticket: Ticket) -> None:
        """Give up a request that has not ended; never waits, so a cancelled scope can do it."""
        if ticket.state is State.LEFT:
            return
        self._cancelled += 1
        if ticket.state is State.WAITING:
            self._line.leave(ticket)
        else:
            self._asked[ticket].stop(ticket)  # its slot stays taken until Triton has done with it

    # What a link tells.

    def examine(self, url: str, parameters: Mapping[str, str]) -> None:
        """Compare the exported model with the gateway's: another tokenizer would give noise."""
        digests = {parameters.get(ARTIFACT_DIGEST), parameters.get(SOURCE_DIGEST)}
        if self._artifact.digest not in digests:
            raise ConfigError(
                f"triton_model {self._model!r} was not exported from the model that the gateway "
                f"has ({self._artifact.name}, {self._artifact.digest[:12]}…); point `model` at "
                "the export's checkpoint folder, or export again"
            )
        if int(parameters[MAX_CONTEXT]) < self.max_context:
            raise ConfigError(
                f"triton_model {self._model!r} has a context of {parameters[MAX_CONTEXT]} tokens, "
                f"the gateway's model of {self.max_context}"
            )
        # One of several servers may be left with all requests.
        if int(parameters[MAX_ACTIVE]) < self._settings.slots:
            raise ConfigError(
                f"max_running {self._settings.slots} is above the {parameters[MAX_ACTIVE]} "
                f"requests that triton_model {self._model!r} takes; lower it"
            )
        self._refused[url] = frozenset(filter(None, parameters[REFUSES].split(",")))

    def heard(self, ticket: Ticket, response: Any) -> None:
        """Hand tokens to their reader."""
        self._generated += len(response.ids)
        if ticket.state is not State.RUNNING:
            return
        self._begun.add(ticket)
        if response.error is not None:
            ticket.fail(response.error)
        elif response.finish == "cancelled":
            ticket.fail(EngineFailed("the model in Triton ended the request; try again"))
        elif response.ids or response.finish:
            finish = Finish(response.finish) if response.finish else None
            scores = tuple(min(0.0, p) for p in response.logprobs)
            ticket.push(Tokens(response.ids, scores, finish))

    def ended(self, ticket: Ticket) -> None:
        """Free the slot."""
        self._asked.pop(ticket, None)
        self._begun.discard(ticket)
        self._line.leave(ticket)

    def came(self) -> None:
        """Let requests through."""
        self._down = None
        self._line.open = True
        self._line.advance()

    def lost(self, link: Link, tickets: list[Ticket]) -> None:
        """Ask another server, where nothing was said yet; else fail who ran, and who comes."""
        others = any(other.up for other in self._links)
        if not others:
            self._down, self._line.open = link.error, False
        for ticket in tickets:
            if others and ticket not in self._begun and not ticket.abandoned:
                self._submit(ticket)
                continue
            ticket.fail(EngineFailed("Triton was lost while it was answering; try again"))
            self.ended(ticket)
        if not others and link.error is not None:
            for ticket in list(self._line.waiting):
                ticket.fail(link.error)
                self._line.leave(ticket)
