"""Our requests in Triton's protobuf, and its responses in our words. Knows no connection.

Built by hand rather than with tritonclient's classes: a stream of theirs cannot carry the id of a
request that fails, nor be shared by many.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import service_pb2

from tabwright.errors import EngineFailed, EngineOverloaded, InvalidRequest, TabwrightError
from tabwright.request import SamplingParams
from tabwright.tensors import INPUTS

_CODES = {"INT32": "i", "FP32": "f", "UINT64": "Q", "BOOL": "B"}
_TYPES = {row.name: row.dtype for row in INPUTS}
_LOST = "Triton was lost while it was answering; try again"
STOPPED = "stopped"  # what a `stop` is answered with; the request that it ended has its own end
_FINISHES = ("stop", "length", "cancelled", STOPPED)


@dataclass(frozen=True, slots=True)
class Heard:
    """One response. `finish` is set, or `error`, on the last one of a request or of a stop.

    dead: it is Triton who speaks, because the model does not.
    """

    request: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: str = ""
    error: TabwrightError | None = None
    dead: bool = False

    @property
    def final(self) -> bool:
        """No more tokens come for this request."""
        return self.finish not in ("", STOPPED) or self.error is not None


def ask(
    model: str, request: str, prompt: Sequence[int], sampling: SamplingParams, granted: int
) -> Any:
    """The message that starts a generation of `granted` tokens."""
    values: dict[str, Sequence[float]] = {
        "input_ids": prompt,
        "max_tokens": [granted],
        "stream": [1],
        "num_logprobs": [1],
    }
    if sampling.stop_token_ids:
        values["stop_token_ids"] = sampling.stop_token_ids
    if sampling.temperature > 0:
        values |= {"temperature": [sampling.temperature], "top_p": [sampling.top_p]}
        if sampling.top_k:
            values["top_k"] = [min(sampling.top_k, 2**31 - 1)]
        if sampling.seed is not None:
            values["seed"] = [sampling.seed % 2**64]
        if sampling.min_p:
            values["min_p"] = [sampling.min_p]
    asked = sampling.asked()
    for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
        if name in asked:
            values[name] = [getattr(sampling, name)]
    return _message(model, request, values)


def stop(model: str, request: str) -> Any:
    """The message that ends a running generation; the model answers it, whether or not one runs."""
    return _message(model, request, {"stop": [1]})


def _message(model: str, request: str, values: Mapping[str, Sequence[float]]) -> Any:
    message = service_pb2.ModelInferRequest(model_name=model, id=request)
    for name, row in values.items():
        tensor = message.inputs.add()
        tensor.name = name
        tensor.datatype = _TYPES[name]
        tensor.shape.append(len(row))
        message.raw_input_contents.append(array(_CODES[_TYPES[name]], row).tobytes())
    return message


def read(message: Any) -> Heard:
    """What a response of the stream says."""
    response = message.infer_response
    if message.error_message:
        error = _error(message.error_message)
        return Heard(response.id, error=error or EngineFailed(_LOST), dead=error is None)
    raw = dict(zip((t.name for t in response.outputs), response.raw_output_contents, strict=True))
    try:
        ids, logprobs = array("i", raw["output_ids"]), array("f", raw["log_probs"])
        finish = raw["finish_reason"][4:].decode()  # behind its length
    except (KeyError, ValueError) as error:
        return Heard(response.id, error=EngineFailed(f"Triton answered nonsense: {error!r}"))
    if len(ids) != len(logprobs) or finish not in ("", *_FINISHES):
        return Heard(response.id, error=EngineFailed("Triton answered nonsense; try again"))
    return Heard(response.id, tuple(ids), tuple(logprobs), finish)


def _error(text: str) -> TabwrightError | None:
    """The model's errors begin with whose they are; None: it is not the model that speaks."""
    kind = text.partition(":")[0].strip()
    if kind == "overloaded":
        return EngineOverloaded("Triton takes no more requests")
    if kind == "invalid":
        return InvalidRequest("prompt", "...", "the exported model refused it: " + text[:200])
    return EngineFailed("the model in Triton failed; try again") if kind == "failed" else None
