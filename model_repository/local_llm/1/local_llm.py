"""The part of TensorRT-LLM's LLM interface that `model.py` uses, computed by transformers on a CPU.

So the whole Triton path runs on a laptop with the real checkpoint, and `model.py` is the same file
as on a GPU. One token of one request is computed at a time, in turns: right, not fast. It shows
nothing about TensorRT-LLM. Read `LLM.generate_async` first.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, DynamicCache

__version__ = "1"
COLDEST = 1e-5  # below, sampling is greedy, and dividing by it would overflow
TURN_S = 0.001  # of the interpreter's lock, for which a cancel waits; by itself Python takes 0.005


@dataclass(kw_only=True)
class SamplingParams:
    """How tokens are picked; a field that is None changes nothing."""

    max_tokens: int = 32
    end_id: int = -1
    stop_token_ids: list[int] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: int | None = None
    detokenize: bool = False
    add_special_tokens: bool = False


@dataclass
class LoRARequest:
    """Which adapter a generation uses; the path is that of a PEFT folder."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""


@dataclass
class Output:
    """Everything generated so far."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None


class LLM:
    """A model in this process."""

    def __init__(self, *, model, dtype="float32", max_seq_len, max_batch_size, threads=None):
        """Load the checkpoint `model`."""
        sys.setswitchinterval(TURN_S)
        if threads:
            torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.max_seq_len = max_seq_len
        self.max_batch_size = max_batch_size
        self.adapters = Adapters(self.model)
        self.running = {}
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-llm")

    def generate_async(self, *, inputs, sampling_params, lora_request=None, streaming=True):
        """Begin after the ids `inputs`; the result gives all tokens so far, each time."""
        if not streaming:
            raise ValueError("streaming: only True is covered here")
        vocabulary = self.model.config.vocab_size
        if not inputs or min(inputs) < 0 or max(inputs) >= vocabulary:
            raise ValueError(f"token ids run from 0 to {vocabulary - 1}")
        if len(inputs) + sampling_params.max_tokens > self.max_seq_len:
            raise ValueError(f"prompt and answer exceed {self.max_seq_len} tokens")
        return Generation(self, list(inputs), sampling_params, lora_request)

    async def get_stats_async(self, timeout=2):  # noqa: ARG002, ASYNC109, their signature
        """Tell once how many tokens are kept, in TensorRT-LLM's words; a block is one token."""
        used = sum(len(g.outputs[0].token_ids) + size for g, size in self.running.items())
        most = self.max_batch_size * self.max_seq_len
        yield {"kvCacheStats": {"usedNumBlocks": used, "maxNumBlocks": most}}

    def shutdown(self):
        """Compute nothing more."""
        self.worker.shutdown(cancel_futures=True)


class Adapters:
    """LoRA adapters beside the model: what a layer gives, plus the scaled product of the active."""

    def __init__(self, model):
        """Begin with none."""
        self._layers = dict(model.named_modules())
        self._loaded = {}
        self._hooked = set()
        self._active = {}

    def use(self, request):
        """Let the next computation use the adapter of `request`, or none."""
        if request is None:
            self._active = {}
            return
        if request.lora_int_id not in self._loaded:
            self._loaded[request.lora_int_id] = self._load(Path(request.lora_path))
        self._active = self._loaded[request.lora_int_id]

    def _load(self, folder):
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        scale = config["lora_alpha"] / config["r"]
        tensors = load_file(folder / "adapter_model.safetensors")
        ends = ".lora_A.weight"
        names = [key.removesuffix(ends) for key in tensors if key.endswith(ends)]
        table = {}
        for name in names:
            down, up = tensors[name + ends], tensors[f"{name}.lora_B.weight"]
            module = name.removeprefix("base_model.model.")
            table[module] = (down.float().T, up.float().T * scale)
            if module not in self._hooked:
                self._hooked.add(module)
                self._layers[module].register_forward_hook(self._hook(module))
        return table

    def _hook(self, module):
        def add(_layer, given, out):
            if module not in self._active:
                return out
            down, up = self._active[module]
            return out + given[0] @ down @ up

        return add


class Generation:
    """One answer in the making."""

    def __init__(self, llm, prompt, sampling, adapter):
        """Begin with an empty answer."""
        self.outputs = [Output()]
        self._llm = llm
        self._prompt = prompt
        self._sampling = sampling
        self._adapter = adapter
        self._stops = {sampling.end_id, *(sampling.stop_token_ids or [])}
        self._cache = DynamicCache()
        self._ahead = None
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._dice = torch.Generator().manual_seed(seed % 2**63)

    def abort(self):
        """End it at once; a token of its own that is being computed is thrown away."""
        self.outputs[0].finish_reason = self.outputs[0].finish_reason or "cancelled"
        if self._ahead is not None:
            self._ahead.cancel()  # others' tokens may stand before it, whole prompts among them

    async def __aiter__(self):
        """Give itself after each token, the last time with a finish reason."""
        self._llm.running[self] = len(self._prompt)
        try:
            async for told in self._tokens():
                yield told
        finally:
            del self._llm.running[self]

    async def _tokens(self):
        output = self.outputs[0]
        loop = asyncio.get_running_loop()
        new = self._prompt
        while output.finish_reason is None:
            self._ahead = loop.run_in_executor(self._llm.worker, self._step, new)
            try:
                token, logprob = await self._ahead
            except asyncio.CancelledError:
                if output.finish_reason is None:
                    raise
                break
            if output.finish_reason is not None:
                break
            if token in self._stops:
                output.finish_reason = "stop"
                break
            output.token_ids.append(token)
            output.logprobs.append(logprob)
            new = [token]
            if len(output.token_ids) == self._sampling.max_tokens:
                output.finish_reason = "length"
                break
            yield self
        yield self

    @torch.inference_mode()
    def _step(self, new):
        if self.outputs[0].finish_reason is not None:
            return -1, 0.0
        model = self._llm.model
        self._llm.adapters.use(self._adapter)
        told = model(
            input_ids=torch.tensor([new]),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = told.logits[0, -1].float()
        token = self._choose(self._changed(logits))
        return token, float(torch.log_softmax(logits, 0)[token])

    def _changed(self, logits):
        """Apply the penalties: OpenAI's over the answer, the repetition's over everything."""
        sampling, answer = self._sampling, self.outputs[0].token_ids
        logits = logits.clone()
        if sampling.repetition_penalty not in (None, 1.0):
            seen = torch.tensor(sorted({*self._prompt, *answer}))
            rows = logits[seen]
            logits[seen] = torch.where(
                rows > 0, rows / sampling.repetition_penalty, rows * sampling.repetition_penalty
            )
        if answer:
            counts = torch.bincount(torch.tensor(answer), minlength=len(logits))
            logits -= (sampling.presence_penalty or 0.0) * (counts > 0)
            logits -= (sampling.frequency_penalty or 0.0) * counts
        return logits

    def _choose(self, logits):
        sampling = self._sampling
        if sampling.top_k == 1 or not sampling.temperature or sampling.temperature < COLDEST:
            return int(logits.argmax())
        logits, order = torch.sort(logits / sampling.temperature, descending=True, stable=True)
        chances = torch.softmax(logits, 0)
        dropped = torch.zeros_like(chances, dtype=torch.bool)
        if sampling.top_k:
            dropped[sampling.top_k :] = True
        if sampling.top_p is not None and sampling.top_p < 1:
            kept = torch.softmax(logits.masked_fill(dropped, -torch.inf), 0)
            dropped |= kept.cumsum(0) - kept >= sampling.top_p
        if sampling.min_p:
            dropped |= chances < sampling.min_p * chances[0]
        dropped[0] = False
        weights = chances.masked_fill(dropped, 0.0)
        return int(order[torch.multinomial(weights, 1, generator=self._dice)])
