"""Text Generation Inference: `/generate` and `/generate_stream`.

There is no suffix in it: clients lay out `inputs` themselves (`server.templates`), and any other
text is continued as it is. Greedy unless a temperature or `do_sample` is given, as TGI is.
`truncate`, `watermark` and `typical_p` are accepted and not acted on. Read `Tgi.whole` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from server.best_of import mean_logprob
from server.choices import Choice, collect, generate, spread
from server.event_stream import JSON, Answer, Emit, EventStream, Problem, event
from server.gateway import Call, Gateway, Route, read_wire
from server.inflight import Running
from server.templates import understood
from server.wire import Number, stop_strings
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, Finish, SamplingParams, Suggestion

# Clients choose the class of their error by these words; `authentication` is none of TGI's own.
_KINDS = {
    401: "authentication",
    403: "authentication",
    429: "overloaded",
    499: "incomplete_generation",
    503: "overloaded",
}


class Parameters(BaseModel):
    """`parameters` of a request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    max_new_tokens: StrictInt | None = Field(default=None, ge=1)
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: StrictInt | None = Field(default=None, ge=0)
    do_sample: StrictBool | None = None
    seed: StrictInt | None = None
    stop: list[StrictStr] | None = None
    return_full_text: StrictBool | None = None
    details: StrictBool | None = None
    best_of: StrictInt | None = Field(default=None, ge=1)
    repetition_penalty: Number | None = None
    frequency_penalty: Number | None = None


class GenerateRequest(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    inputs: StrictStr
    parameters: Parameters | None = None


class Tgi:
    """Serves the protocol."""

    name = "tgi"
    error_type = JSON

    def __init__(self, gateway: Gateway) -> None:
        """Serve with the parts of `gateway`."""
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """The paths it answers."""
        return (
            Route("POST", "/generate", self.whole, wire=GenerateRequest),
            Route(
                "POST",
                "/generate_stream",
                self.stream,
                wire=GenerateRequest,
                answers=("text/event-stream",),
            ),
        )

    def error_body(self, problem: Problem) -> Mapping[str, Any]:
        """Two strings."""
        kind = "generation" if problem.status >= 500 else "validation"
        return {"error": problem.message, "error_type": _KINDS.get(problem.status, kind)}

    async def whole(self, call: Call) -> Answer:
        """Answer with one object; llm-ls refuses an array."""
        body = read_wire(GenerateRequest, call.body)
        parameters = body.parameters or Parameters()
        count, limit = parameters.best_of or 1, self._gateway.settings.max_choices
        if count > limit:
            raise InvalidRequest("best_of", count, f"give at most {limit}")
        choices = list(spread([self._request(body.inputs, parameters)], count))
        running = self._gateway.open(self.name, "gen-", call)

        async def work() -> Mapping[str, Any]:
            rows = (await collect(self._gateway.completer, choices, running)).rows
            best = max(range(count), key=lambda index: mean_logprob(rows[index]))
            pieces, choice = rows[best], choices[best % len(choices)]
            text = "".join(piece.text for piece in pieces)
            answer = {"generated_text": _full(body.inputs, parameters) + text}
            if not parameters.details:
                return answer
            tokens = [token for piece in pieces for token in self._tokens(piece, running)]
            details = _details(pieces[-1], choice) | {"prefill": [], "tokens": tokens}
            return answer | {"details": details}

        return Answer(self._gateway.reception, running, self, work)

    async def stream(self, call: Call) -> EventStream:
        """Answer piece by piece; the last event has the whole text."""
        body = read_wire(GenerateRequest, call.body)
        parameters = body.parameters or Parameters()
        if (parameters.best_of or 1) > 1:
            fix = "the best is known at the end; use /generate"
            raise InvalidRequest("best_of", parameters.best_of, fix)
        choices = list(spread([self._request(body.inputs, parameters)], 1))
        running = self._gateway.open(self.name, "gen-", call)
        before = _full(body.inputs, parameters)
        return EventStream(
            self._gateway.reception,
            running,
            self,
            lambda emit: self._stream(choices, running, before, emit),
        )

    def _request(self, inputs: str, parameters: Parameters) -> CompletionRequest:
        if parameters.frequency_penalty:
            fix = "TGI's own is not served; leave it out"
            raise InvalidRequest("frequency_penalty", parameters.frequency_penalty, fix)
        settings = self._gateway.settings
        temperature = parameters.temperature
        if temperature is None:
            temperature = 1.0 if parameters.do_sample else 0.0
        sampling = SamplingParams(
            max_tokens=parameters.max_new_tokens or settings.editor_max_tokens,
            temperature=temperature,
            top_p=1.0 if parameters.top_p is None else parameters.top_p,
            top_k=parameters.top_k or 0,
            seed=parameters.seed,
            repetition_penalty=1.0
            if parameters.repetition_penalty is None
            else parameters.repetition_penalty,
        )
        request = CompletionRequest(
            prefix=inputs, sampling=sampling, stop=stop_strings(parameters.stop)
        )
        return understood(request, self._gateway.artifact)

    async def _stream(
        self, choices: Sequence[Choice], running: Running, before: str, emit: Emit
    ) -> None:
        texts: list[str] = []

        async def take(choice: Choice, piece: Suggestion) -> None:
            texts.append(piece.text)
            await emit(
                event(
                    {
                        "index": len(texts),
                        "token": self._token(piece),
                        "generated_text": before + "".join(texts) if piece.finish else None,
                        "details": _details(piece, choice) if piece.finish else None,
                    }
                )
            )

        await generate(self._gateway.completer, choices, running, take)

    def _token(self, piece: Suggestion) -> Mapping[str, Any]:
        """One piece as one token: its text may be of several, or of none that was held back."""
        ended = not piece.ids
        return {
            "id": self._gateway.artifact.fim.stop_ids[0] if ended else piece.ids[-1],
            "text": piece.text,
            "logprob": None if ended else piece.logprobs[-1],
            "special": ended and not piece.text,
        }

    def _tokens(self, piece: Suggestion, running: Running) -> list[Mapping[str, Any]]:
        decode = self._gateway.completer.models.of(running).engine.artifact.tokenizer.decode
        return [
            {"id": token_id, "text": decode([token_id]), "logprob": logprob, "special": False}
            for token_id, logprob in zip(piece.ids, piece.logprobs, strict=True)
        ]


def _full(inputs: str, parameters: Parameters) -> str:
    return inputs if parameters.return_full_text else ""


def _details(last: Suggestion, choice: Choice) -> dict[str, Any]:
    return {
        "finish_reason": "length" if last.finish is Finish.LENGTH else "eos_token",
        "generated_tokens": last.usage.completion_tokens,
        "input_length": last.usage.prompt_tokens,
        "seed": choice.request.sampling.seed,
    }
