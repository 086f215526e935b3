"""Our transcription of the arguments that `LLM` of TensorRT-LLM 1.2 takes.

It refuses any other, and so does `check_arguments`, here and not on the GPU node. Transcribed from
the documentation and sources of 1.2, not taken from the package, which cannot be installed without
a GPU: `smoke_gpu.py` shows whether it is right. Of the tables inside it has what an export may
write and what an operator is likely to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabwright.errors import ValidationFailed

_FRACTION = "a number from 0 to 1"
_KV_CACHE = {
    "enable_block_reuse": bool,
    "enable_partial_reuse": bool,
    "copy_on_partial_reuse": bool,
    "free_gpu_memory_fraction": _FRACTION,
    "max_tokens": int,
    "host_cache_size": int,
    "tokens_per_block": int,
    "dtype": ("auto", "fp8"),
    "max_attention_window": list,
    "event_buffer_max_size": int,
    "secondary_offload_min_priority": int,
}
_CUDA_GRAPH = {"batch_sizes": list, "max_batch_size": int, "enable_padding": bool}
_NGRAM = {
    "decoding_type": ("NGram",),
    "max_draft_len": int,
    "max_matching_ngram_size": int,
    "is_keep_all": bool,
    "is_use_oldest": bool,
    "is_public_pool": (False,),  # true would let users see what others typed
}
_LORA = {
    "lora_dir": list,
    "max_lora_rank": int,
    "max_loras": int,
    "max_cpu_loras": int,
    "lora_target_modules": list,
}
LLM_ARGUMENTS: Mapping[str, Any] = {
    "model": str,
    "tokenizer": str,
    "tokenizer_mode": ("auto", "slow"),
    "skip_tokenizer_init": bool,
    "trust_remote_code": (False,),
    "tensor_parallel_size": int,
    "pipeline_parallel_size": int,
    "dtype": ("bfloat16", "float16", "auto"),
    "revision": str,
    "max_batch_size": int,
    "max_num_tokens": int,
    "max_seq_len": int,
    "max_input_len": int,
    "max_beam_width": int,
    "enable_chunked_prefill": bool,
    "guided_decoding_backend": ("xgrammar", "llguidance"),
    "stream_interval": int,
    "load_format": ("auto", "dummy"),
    "disable_overlap_scheduler": bool,
    "enable_iter_perf_stats": bool,
    "kv_cache_config": _KV_CACHE,
    "cuda_graph_config": _CUDA_GRAPH,
    "speculative_config": _NGRAM,
    "lora_config": _LORA,
}
# What `model.py` reads itself, beside the LLM's arguments.
OUR_SETTINGS: Mapping[str, Any] = {
    "runtime": str,
    "cancellation_check_period_ms": int,
    "lora_module": str,
    "loras": {"*": str},  # any name
}
# What `local_llm.LLM` takes.
LOCAL_ARGUMENTS: Mapping[str, Any] = {
    "model": str,
    "dtype": ("float32", "bfloat16"),
    "max_seq_len": int,
    "max_batch_size": int,
    "threads": int,
}


def check_arguments(given: object, known: Mapping[str, Any], place: str) -> int:
    """Hold a table to those that are known; count its values.

    Raises:
        ValidationFailed: a key is not known, or its value is of another kind.
    """
    if not isinstance(given, Mapping):
        raise ValidationFailed(f"{place}: a table is expected, not {given!r}")
    count = 0
    for key, value in given.items():
        kind = known.get(key, known.get("*"))
        if kind is None:
            raise ValidationFailed(f"{place}: {key} is unknown; known are {', '.join(known)}")
        if isinstance(kind, Mapping):
            count += check_arguments(value, kind, f"{place}: {key}")
        elif not _fits(value, kind):
            raise ValidationFailed(f"{place}: {key}: {value!r} is not {_said(kind)}")
        else:
            count += 1
    return count


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(value is choice or value == choice for choice in kind)
    if kind == _FRACTION:
        return isinstance(value, int | float) and 0 <= value <= 1
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kind)


def _said(kind: Any) -> str:
    if isinstance(kind, tuple):
        return " or ".join(map(repr, kind))
    return str(kind if isinstance(kind, str) else kind.__name__)
