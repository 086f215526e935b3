"""The embedded engine: OpenVINO GenAI on the CPU, in a worker process of its own.

This file keeps the books: who runs, who waits, how many key-value blocks are promised, and what is
told to whom when the worker dies. It never lets the pool overflow, because OpenVINO then drops
requests in silence. The worker (`cpu_worker.py`) computes. Does not know text. Life of a request:
`docs/engine.md`. Read `CpuEngine.stream` first, then `CpuEngine.hear`.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

import anyio

from server.engines.cpu_messages import (
    Add,
    AskStats,
    Cancel,
    Message,
    Piece,
    Ready,
    Start,
    StepReport,
    WorkerStats,
)
from server.engines.cpu_process import WorkerProcess
from server.engines.cpu_settings import CpuSettings
from server.engines.cpu_supervisor import Supervisor
from server.engines.ir import ir_folder
from server.engines.limits import tokens_granted
from server.engines.line import Line, State, Ticket
from tabwright.artifact import ModelArtifact
from tabwright.engine import EngineStats, Tokens
from tabwright.errors import (
    EngineFailed,
    EngineOverloaded,
    EngineUnavailable,
    MissingExtra,
    TabwrightError,
)
from tabwright.request import Finish, Ranking, SamplingParams, ScoredPrompt

_CHECK_TIMEOUT_S = 30.0
_log = logging.getLogger(__name__)


def create(artifact: ModelArtifact, **options: object) -> CpuEngine:
    """Make the engine for the registry; options are the fields of `CpuSettings`."""
    return CpuEngine(artifact, CpuSettings(**options))  # type: ignore[arg-type]


class CpuEngine:
    """A `CompletionEngine` that computes here. It answers inside `async with`."""

    def __init__(self, artifact: ModelArtifact, settings: CpuSettings | None = None) -> None:
        """Check that the model can run; nothing is started yet.

        Raises:
            MissingExtra: OpenVINO is not installed.
            ConfigError: the model is of a kind that is not covered, or the pool is too small.
        """
        for module in ("openvino_genai", "numpy"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtra(module, "cpu")
        self._artifact = artifact
        self._settings = settings or CpuSettings()
        self._line = Line(
            slots=self._settings.slots,
            waiting=self._settings.waiting,
            blocks=self._settings.kv_blocks(artifact.config, artifact.max_context),
            start=self._submit,
        )
        self._worker: WorkerProcess | None = None
        self._supervisor = Supervisor(self._start_message(), self._settings.stall_timeout_s, self)
        self._group = anyio.create_task_group()
        self._settled = anyio.Event()  # the first worker is ready, or none ever will be
        self._down: TabwrightError | None = EngineUnavailable("the engine is not started")
        self._news = anyio.Event()
        self._worker_stats: WorkerStats | None = None
        self._generated = self._cancelled = 0

    async def __aenter__(self) -> CpuEngine:
        self._down = None
        await self._group.__aenter__()
        self._group.start_soon(self._supervisor.run)
        try:
            with anyio.move_on_after(self._settings.start_timeout_s):
                await self._settled.wait()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        if not self._settled.is_set():
            self._down = EngineUnavailable("the model was not loaded in time")
        if (error := self._down) is not None:
            await self.__aexit__(None, None, None)
            raise error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        # Without the error of the block: it is to leave as it is, not inside an exception group.
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
        """Nothing: what OpenVINO's own sampler lacks, `cpu_solo.py` does."""
        return frozenset()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None while there is none."""
        return self._worker.pid if self._worker else None

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
            yield ticket
        finally:
            ticket.abandon()
            self._leave(ticket)

    def stats(self) -> EngineStats:
        """Count what is held. A cancelled request is held until the worker has freed its blocks."""
        return EngineStats(
            running=len(self._line.running),
            waiting=len(self._line.waiting),
            kv_blocks_used=self._line.blocks_used,
            kv_blocks_total=self._line.blocks,
            generated_tokens=self._generated,
            cancelled=self._cancelled,
            restarts=self._supervisor.restarts,
        )

    async def worker_stats(self) -> WorkerStats:
        """Ask the worker for the counts that only it has.

        Raises:
            EngineUnavailable: it is not up, or died before answering.
        """
        self._worker_stats = None
        worker = self._worker
        if worker is None:
            raise EngineUnavailable("the worker is not up")
        worker.send(AskStats())
        while self._worker_stats is None:
            await self._news.wait()
            if self._worker is not worker:
                raise EngineUnavailable("the worker died")
        return self._worker_stats

    async def check(self) -> None:
        """Return when one token has really been generated.

        Raises:
            EngineUnavailable: none was.
        """
        with anyio.move_on_after(_CHECK_TIMEOUT_S):
            try:
                async with self.stream([0], SamplingParams(max_tokens=1)) as pieces:
                    async for _ in pieces:
                        pass
            except EngineOverloaded:
                await self._news.wait()  # full, and heard from: it computes for others
                if self._worker is None:
                    raise EngineUnavailable("the worker died") from None
            except EngineFailed as error:
                raise EngineUnavailable(str(error)) from error
            return
        raise EngineUnavailable(f"no token within {_CHECK_TIMEOUT_S:.0f} s")

    async def aclose(self) -> None:
        """End the worker and every request in it."""
        self._close()
        await self._supervisor.ended.wait()

    def _close(self) -> None:
        self._down = EngineUnavailable("the engine was closed")
        self._fail_all(self._down)
        self._supervisor.stop()

    def _submit(self, ticket: Ticket) -> None:
        """Send a request whose turn it is to the worker."""
        assert self._worker is not None, "the line is open only while a worker is ready"
        sampling = ticket.sampling
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed % 2**64
        self._worker.send(
            Add(
                request=ticket.number,
                prompt=list(ticket.prompt),
                max_tokens=ticket.granted,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                seed=seed,
                stop_ids=list(sampling.stop_token_ids),
                min_p=sampling.min_p,
                repetition_penalty=sampling.repetition_penalty,
                presence_penalty=sampling.presence_penalty,
                frequency_penalty=sampling.frequency_penalty,
                logit_bias=sampling.logit_bias,
                alternatives=sampling.alternatives,
                prompt_logprobs=sampling.prompt_logprobs,
            )
        )

    def _leave(self, ticket: Ticket) -> None:
        """Give up a request that has not ended; never waits, so a cancelled scope can do it."""
        if ticket.state is State.LEFT:
            return
        self._cancelled += 1
        if ticket.state is State.WAITING:
            self._line.leave(ticket)
        elif self._worker is not None:
            # Its blocks stay counted until the worker says that they are free.
            self._worker.send(Cancel(ticket.number))

    def _start_message(self) -> Start:
        settings = self._settings
        form = settings.weight_format
        return Start(
            checkpoint=str(self._artifact.path.resolve()),
            ir_folder=str(ir_folder(settings.cache_dir, self._artifact.digest, form).resolve()),
            weights=form,
            precision=settings.precision,
            threads=settings.threads,
            slots=settings.slots,
            kv_blocks=self._line.blocks,
            chunk_tokens=settings.chunk_tokens,
        )

    # What the supervisor reports.

    @property
    def busy(self) -> bool:
        """The worker owes somebody an answer."""
        return bool(self._line.running)

    def hear(self, worker: WorkerProcess, messages: Sequence[Message]) -> None:
        """Act on what a living worker says."""
        for message in messages:
            if isinstance(message, StepReport):
                self._take(message)
            elif isinstance(message, WorkerStats):
                self._worker_stats = message
            elif isinstance(message, Ready):
                self._worker = worker
                self._settled.set()
                self._line.open = True
                self._line.advance()
        self._announce()

    def died(self) -> None:
        """Fail those whose tokens were lost; those in line wait for the next worker."""
        self._worker = None
        self._line.open = False
        self._fail_running(EngineFailed("the engine died while it was answering; try again"))
        self._announce()

    def give_up(self, error: TabwrightError) -> None:
        """No worker will come."""
        self._down = error
        self._fail_all(error)
        self._settled.set()

    def _take(self, report: StepReport) -> None:
        """Hand out the tokens of one step and free what ended in it."""
        running = self._line.running
        for piece in report.pieces:
            self._generated += len(piece.ids)
            ticket = running.get(piece.request)
            if ticket is None:
                continue
            tokens = _tokens(piece, ticket.prompt)
            ticket.push(tokens)
            if tokens.finish:
                self._line.leave(ticket)
        for number in report.closed:
            if number in running:
                self._line.leave(running[number])
        for number in report.failed:
            if number in running:
                _log.error("the engine dropped a request", extra={"blocks": self._line.blocks_used})
                running[number].fail(EngineFailed("the engine dropped the request; try again"))
                self._line.leave(running[number])

    def _fail_running(self, error: TabwrightError) -> None:
        for ticket in list(self._line.running.values()):
            ticket.fail(error)
            self._line.leave(ticket)

    def _fail_all(self, error: TabwrightError) -> None:
        self._line.open = False
        self._fail_running(error)
        for ticket in list(self._line.waiting):
            ticket.fail(error)
            self._line.leave(ticket)

    def _announce(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _tokens(piece: Piece, prompt: Sequence[int]) -> Tokens:
    scores = None
    if piece.prompt_logprobs:
        scores = ScoredPrompt(
            tuple(prompt), tuple(piece.prompt_logprobs), _rankings(piece.prompt_alternatives)
        )
    return Tokens(
        tuple(piece.ids),
        tuple(piece.logprobs),
        Finish(piece.finish) if piece.finish else None,
        _rankings(piece.alternatives),
        scores,
    )


def _rankings(rows: Sequence[Sequence[tuple[int, float]]]) -> tuple[Ranking, ...]:
    return tuple(tuple((token_id, logprob) for token_id, logprob in row) for row in rows)
