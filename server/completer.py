"""THE MAIN PATH of one completion: model → memory → permit → prompt → engine → text → pieces.

It runs inside the scope that `server.inflight` opened; a cancel arrives here as a cancellation of
whatever is awaited, and leaving the blocks gives back the permit and the engine's slot. Protocols,
HTTP and metrics are not known here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread

from server.admission import Admission
from server.chain import Chain
from server.inflight import Running
from server.model_choice import ModelChoice, ServedModel
from server.prompt import BuiltPrompt, PromptBuilder
from server.step import Scanned
from server.timing import Stage, Timing
from server.typeahead import TypeAhead, reusable
from tabwright.engine import Tokens
from tabwright.errors import EngineFailed
from tabwright.languages import language_label
from tabwright.request import CompletionRequest, Finish, Suggestion, Usage

_LONG_TEXT = 50_000  # tokenising more would hold up every other request for milliseconds
_NOTHING = Suggestion("")


class Meter(Protocol):
    """What is written down about a generation while it runs."""

    tokens: int
    first_token_at: float | None
    timings: list[Timing]


@dataclass(frozen=True, slots=True)
class Completer:
    """Completes text. typeahead: None where nothing is remembered."""

    models: ModelChoice
    admission: Admission
    typeahead: TypeAhead | None = None

    @asynccontextmanager
    async def complete(
        self, request: CompletionRequest, running: Running, *, patient: bool = False
    ) -> AsyncIterator[AsyncIterator[Suggestion]]:
        """Run one completion; iterate over its pieces inside the block.

        Raises:
            EngineOverloaded: no slot and no place in line.
            RateLimited: the caller started too many.
            InvalidRequest: the prompt does not fit, or the engine cannot take it.
            EngineUnavailable: the engine is not up.
            EngineFailed: it died on the way; also while iterating.
        """
        running.language = language_label(request.language, request.path)
        model = self.models.choose(request, running)
        delayed = request.suffix is not None and running.wishes.eagerness.delay_ms > 0
        if delayed and not self._remembers(request, running):
            await _pause(running)

        generate = partial(self._generate, model=model, running=running, patient=patient)
        if self.typeahead is not None and self.typeahead.on and reusable(request, running):
            async with self.typeahead.listen(request, running, generate) as pieces:
                yield pieces
            return
        running.supersede()
        if self.typeahead is not None:
            self.typeahead.make_room()
        async with generate(request, running) as pieces:
            yield pieces

    @asynccontextmanager
    async def _generate(
        self,
        request: CompletionRequest,
        meter: Meter,
        *,
        model: ServedModel,
        running: Running,
        patient: bool,
    ) -> AsyncIterator[AsyncIterator[Suggestion]]:
        paid, running.paid = running.paid, True  # several choices are one request
        with _timed(meter) as timing:
            async with self.admission.permit(running.caller, patient=patient, paid=paid):
                timing.end(Stage.ADMISSION)
                prompt = await _prompt(model.prompts, request)
                timing.prompt_tokens = len(prompt.ids)
                timing.end(Stage.PROMPT)
                if not (prompt.sampling.max_tokens or prompt.sampling.prompt_logprobs):
                    yield _nothing(prompt)
                    return
                async with (
                    model.engine.stream(prompt.ids, prompt.sampling) as tokens,
                    aclosing(
                        self._pieces(request, running, model, prompt, tokens, meter, timing)
                    ) as pieces,
                ):
                    yield pieces

    def _remembers(self, request: CompletionRequest, running: Running) -> bool:
        typeahead = self.typeahead
        return (
            typeahead is not None
            and typeahead.on
            and reusable(request, running)
            and typeahead.remembers(request, running)
        )

    async def _pieces(
        self,
        request: CompletionRequest,
        running: Running,
        model: ServedModel,
        prompt: BuiltPrompt,
        tokens: AsyncIterator[Tokens],
        meter: Meter,
        timing: Timing,
    ) -> AsyncGenerator[Suggestion, None]:
        text_of = model.engine.artifact.tokenizer.detokenizer(prompt.ids)
        chain = Chain(request, running.wishes)
        limit = _AnswerLimit(request.answer_ms)
        generated = 0
        told = _NOTHING
        async for new in tokens:
            start = time.perf_counter()
            if meter.first_token_at is None:
                meter.first_token_at = start
            if Stage.PREFILL not in timing.spans:
                timing.first_token(new.queued_s)
            meter.tokens += len(new.ids)
            generated += len(new.ids)
            texts = [text_of.push((token,)) for token in new.ids]
            ending = new.finish or limit.reached("".join(texts))
            text, stopped = _cut(chain, texts, new.logprobs)
            if ending and not stopped:
                # A character that the length limit cut in half is no text for an editor.
                last, stopped = chain.push(text_of.flush().rstrip("\ufffd"), ())
                text += last if stopped else last + chain.flush(whole=ending is Finish.STOP)
            finish = Finish.STOP if stopped else ending
            timing.postprocess_s += time.perf_counter() - start
            if finish:
                timing.end(Stage.DECODE)
                yield _joined(told, new, text, finish, Usage(len(prompt.ids), generated))
                return
            told = _joined(told, new, text)
            if text:
                yield told
                told = _NOTHING
        raise EngineFailed("the engine's stream ended without saying why")


async def _prompt(prompts: PromptBuilder, request: CompletionRequest) -> BuiltPrompt:
    if request.suffix is None and len(request.prefix) > _LONG_TEXT:
        return await anyio.to_thread.run_sync(prompts.build, request)
    return prompts.build(request)


def _cut(chain: Chain, texts: Sequence[str], logprobs: Sequence[float]) -> Scanned:
    """Push token by token: how many the engine hands over at once depends on who else runs."""
    shown = ""
    for text, logprob in zip(texts, logprobs, strict=True):
        new, stopped = chain.push(text, (logprob,))
        shown += new
        if stopped:
            return Scanned(shown, True)
    return Scanned(shown, False)


async def _nothing(prompt: BuiltPrompt) -> AsyncGenerator[Suggestion, None]:
    """The answer of no tokens, for which no engine is needed."""
    yield Suggestion("", Finish.LENGTH, Usage(len(prompt.ids), 0))


def _joined(
    told: Suggestion,
    new: Tokens,
    text: str,
    finish: Finish | None = None,
    usage: Usage = _NOTHING.usage,
) -> Suggestion:
    """Put what the engine says now behind what it said since the last piece that had a text."""
    return Suggestion(
        text,
        finish,
        usage,
        logprobs=told.logprobs + new.logprobs,
        ids=told.ids + new.ids,
        alternatives=told.alternatives + new.alternatives,
        prompt=new.prompt or told.prompt,
    )


@contextmanager
def _timed(meter: Meter) -> Iterator[Timing]:
    timing = Timing()
    meter.timings.append(timing)
    try:
        yield timing
    except anyio.get_cancelled_exc_class():
        timing.cut()
        raise
    finally:
        timing.close()


async def _pause(running: Running) -> None:
    """Wait for a newer keystroke, which ends this request; counted from the request's arrival."""
    left_s = running.started_at + running.wishes.eagerness.delay_ms / 1000 - time.perf_counter()
    if left_s > 0:
        running.pausing = True
        try:
            await anyio.sleep(left_s)
        finally:
            running.pausing = False


class _AnswerLimit:
    """Ends an answer some time after its first token, once it has a line break."""

    def __init__(self, limit_ms: float | None) -> None:
        self._limit_ms = limit_ms
        self._since: float | None = None
        self._broken = False

    def reached(self, text: str) -> Finish | None:
        """Look at the next piece of text."""
        if self._limit_ms is None:
            return None
        now = time.perf_counter()
        self._since = self._since or now
        self._broken = self._broken or "\n" in text
        late = (now - self._since) * 1000 >= self._limit_ms
        return Finish.LENGTH if late and self._broken else None
