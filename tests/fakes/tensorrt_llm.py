"""The LLM interface of TensorRT-LLM, as much of it as the exported model uses, without a model.

Transcribed from version 1.2, with the names that `smoke_gpu.py` asserts of the real package; a test
compares the two. `LLM` and `SamplingParams` are keyword-only and refuse what they do not know;
outputs hold everything so far; logprobs are tables of ids. What a run does is written in the
prompt's first id: see `Generation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.export.llm_schema import LLM_ARGUMENTS, check_arguments

__version__ = "1.2.1"

STEADY, SLOW, FAILING, DEAF, KEEPS_STOP, ODD_END, UNSCORED = range(1, 8)


@dataclass(kw_only=True)
class SamplingParams:
    max_tokens: int = 32
    end_id: int | None = None
    stop_token_ids: list[int] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: int | None = None
    detokenize: bool = True
    add_special_tokens: bool = True


@dataclass
class Logprob:
    logprob: float
    rank: int = 1


@dataclass
class CompletionOutput:
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass
class LoRARequest:
    """Of `tensorrt_llm.executor`; like there, the path must be one."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    lora_ckpt_source: str = "hf"

    def __post_init__(self) -> None:
        if not Path(self.lora_path).exists():
            raise ValueError(f"lora_path ({self.lora_path}) does not exist.")


class LLM:
    made: list[LLM] = []  # noqa: RUF012

    def __init__(self, **arguments: Any) -> None:
        check_arguments(arguments, LLM_ARGUMENTS, "LLM")
        self.arguments = arguments
        self.stats: list[Any] = []
        self.generations: list[Generation] = []
        self.is_shut_down = False
        LLM.made.append(self)

    def generate_async(
        self,
        *,
        inputs: list[int],
        sampling_params: SamplingParams | None = None,
        lora_request: LoRARequest | None = None,
        streaming: bool = False,
    ) -> Generation:
        assert isinstance(inputs, list)
        assert sampling_params is not None
        assert streaming
        generation = Generation(inputs, sampling_params)
        generation.lora_request = lora_request
        self.generations.append(generation)
        return generation

    async def get_stats_async(self, timeout: float = 2) -> AsyncIterator[Any]:  # noqa: ASYNC109
        assert timeout > 0
        for told in self.stats:
            if isinstance(told, Exception):
                raise told
            yield told

    def shutdown(self) -> None:
        self.is_shut_down = True


class Generation:
    """Counts up from 100, in the manner that the prompt's first id asks for."""

    def __init__(self, prompt: list[int], sampling: SamplingParams) -> None:
        self.outputs = [CompletionOutput()]
        self.sampling = sampling
        self.lora_request: LoRARequest | None = None
        self.aborted = asyncio.Event()
        self._manner = prompt[0]

    def abort(self) -> None:
        self.aborted.set()

    async def __aiter__(self) -> AsyncIterator[Generation]:
        output = self.outputs[0]
        while output.finish_reason is None:
            await self._pause()
            if self.aborted.is_set() and self._manner != DEAF:
                output.finish_reason = "cancelled"
            else:
                self._token()
            yield self

    async def _pause(self) -> None:
        if self._manner == DEAF:
            await asyncio.sleep(3600)
        if self._manner == SLOW:
            try:
                await asyncio.wait_for(self.aborted.wait(), 3600)
            except TimeoutError:
                return
        await asyncio.sleep(0)

    def _token(self) -> None:
        output, sampling = self.outputs[0], self.sampling
        if self._manner == FAILING and len(output.token_ids) == 2:
            raise RuntimeError("the GPU\nfell off the bus")
        if self._manner == ODD_END and len(output.token_ids) == 2:
            output.finish_reason = "timeout"
            return
        token = 100 + len(output.token_ids)
        if token in (sampling.stop_token_ids or ()):
            output.finish_reason = "stop"
            if self._manner != KEEPS_STOP:
                return
        output.token_ids.append(token)
        if sampling.logprobs is not None:
            table = {} if self._manner == UNSCORED else {token: Logprob(-0.5), 7: Logprob(-2.0)}
            output.logprobs.append(table)
        if len(output.token_ids) == sampling.max_tokens and output.finish_reason is None:
            output.finish_reason = "length"
