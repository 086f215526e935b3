"""The files that Triton and trtllm-serve read: `config.pbtxt`, `model.yaml`, `trtllm-serve.yaml`.

Written out whole, never from templates with holes. One leaf model: cancellation does not reach a
model behind an ensemble.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabwright.tensors import (
    ARTIFACT_DIGEST,
    INPUTS,
    LLM_VERSION,
    MAX_ACTIVE,
    MAX_CONTEXT,
    OUTPUTS,
    REFUSES,
    SOURCE_DIGEST,
    TOKENIZER_DIGEST,
    TensorRow,
)
from training.export.lora import Adapter


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs the exported checkpoint inside Triton.

    module: what `model.py` imports. refuses: sampling fields that it is not known to obey.
    lora_module: where its `LoRARequest` is.
    """

    module: str
    version: str
    refuses: tuple[str, ...]
    lora_module: str


# TensorRT-LLM's PyTorch sampler: that it obeys the penalties and min_p was never seen here.
TENSORRT_LLM = Runtime(
    "tensorrt_llm",
    "1.2.1",
    ("frequency_penalty", "min_p", "presence_penalty", "repetition_penalty"),
    "tensorrt_llm.executor",
)
LOCAL_LLM = Runtime("local_llm", "1", (), "local_llm")
RUNTIMES = {runtime.module: runtime for runtime in (TENSORRT_LLM, LOCAL_LLM)}


@dataclass(frozen=True, slots=True)
class Serving:
    """Limits of one exported model, and what it has besides its weights.

    max_active: requests that it takes at the same time. speculate: draft tokens from n-grams.
    """

    max_context: int
    tensor_parallel: int = 1
    max_active: int = 64
    max_num_tokens: int = 8192
    adapters: tuple[Adapter, ...] = ()
    speculate: bool = False


def config_pbtxt(
    name: str,
    runtime: Runtime,
    serving: Serving,
    *,
    artifact_digest: str,
    source_digest: str | None,
    tokenizer_digest: str,
) -> str:
    """Triton's description of the model, complete, so that nothing is left to auto-completion."""
    parameters = {
        ARTIFACT_DIGEST: artifact_digest,
        SOURCE_DIGEST: source_digest or "",
        TOKENIZER_DIGEST: tokenizer_digest,
        LLM_VERSION: runtime.version,
        REFUSES: ",".join(runtime.refuses),
        MAX_CONTEXT: str(serving.max_context),
        MAX_ACTIVE: str(serving.max_active),
    }
    return "".join(
        [
            f'name: {json.dumps(name)}\nbackend: "python"\nmax_batch_size: 0\n',
            "model_transaction_policy { decoupled: true }\n",
            *(_tensor("input", row, "  optional: true\n") for row in INPUTS),
            *(_tensor("output", row, "") for row in OUTPUTS),
            "instance_group [ { count: 1 kind: KIND_CPU } ]\n",
            *(
                f"parameters {{ key: {json.dumps(key)} "
                f"value {{ string_value: {json.dumps(value)} }} }}\n"
                for key, value in parameters.items()
            ),
        ]
    )


def _tensor(kind: str, row: TensorRow, more: str) -> str:
    dtype = f"TYPE_{row.dtype}"
    return (
        f'{kind} {{\n  name: "{row.name}"\n  data_type: {dtype}\n  dims: [ {row.length} ]\n'
        f"{more}}}\n"
    )


def llm_arguments(runtime: Runtime, serving: Serving) -> dict[str, Any]:
    """Keyword arguments of `LLM`, but for the model's path."""
    if runtime is LOCAL_LLM:
        return {
            "dtype": "float32",
            "max_seq_len": serving.max_context,
            "max_batch_size": serving.max_active,
        }
    arguments = {
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
        "dtype": "bfloat16",
        "tensor_parallel_size": serving.tensor_parallel,
        "max_seq_len": serving.max_context,
        "max_num_tokens": serving.max_num_tokens,
        "max_batch_size": serving.max_active,
        "enable_chunked_prefill": True,
        "kv_cache_config": {"enable_block_reuse": True, "free_gpu_memory_fraction": 0.85},
        "cuda_graph_config": {"enable_padding": True},
        "enable_iter_perf_stats": True,  # the KV cache's gauge is read from them
    }
    if serving.speculate:
        # The pool is private to a request: a shared one would draft from what others typed.
        arguments["speculative_config"] = {
            "decoding_type": "NGram",
            "max_draft_len": 4,
            "max_matching_ngram_size": 3,
            "is_keep_all": True,
            "is_use_oldest": False,
            "is_public_pool": False,
        }
        arguments["disable_overlap_scheduler"] = True
    return arguments


def model_yaml(runtime: Runtime, serving: Serving) -> str:
    """What `model.py` reads: the LLM's arguments, and a section of ours."""
    ours: dict[str, Any] = {
        "runtime": runtime.module,
        "lora_module": runtime.lora_module,
        "cancellation_check_period_ms": 50,  # for clients that leave; the gateway says stop
    }
    arguments = {"model": "../../../checkpoint", **llm_arguments(runtime, serving)}
    if serving.adapters:
        ours["loras"] = {a.name: f"../../../lora/{a.name}" for a in serving.adapters}
        if runtime is TENSORRT_LLM:
            arguments["lora_config"] = lora_config(serving.adapters)
    return "# Paths are relative to this file.\n" + yaml_text({"tabwright": ours, "llm": arguments})


def lora_config(adapters: Sequence[Adapter]) -> dict[str, Any]:
    """What the LLM must know of the adapters before it sees the first one."""
    return {
        "lora_target_modules": sorted({m for a in adapters for m in a.trtllm_modules}),
        "max_lora_rank": max(a.rank for a in adapters),
        "max_loras": len(adapters),
        "max_cpu_loras": len(adapters),
    }


def serve_yaml(serving: Serving) -> str:
    """The same arguments for `trtllm-serve`, which needs the tokenizer.

    Without the adapters: there a client would name their path on the server.
    """
    arguments = llm_arguments(TENSORRT_LLM, serving)
    del arguments["skip_tokenizer_init"]
    return "# trtllm-serve serve checkpoint --config trtllm-serve.yaml\n" + yaml_text(arguments)


def yaml_text(value: Mapping[str, Any], indent: int = 0) -> str:
    """Nested tables of scalars as YAML; scalars and lists in JSON's spelling, which is YAML too."""
    rows: Sequence[str] = [
        f"{' ' * indent}{key}:\n{yaml_text(item, indent + 2)}"
        if isinstance(item, Mapping)
        else f"{' ' * indent}{key}: {json.dumps(item)}\n"
        for key, item in value.items()
    ]
    return "".join(rows)
