"""The tensors between the gateway and an exported model in Triton: one table for both sides.

The export writes it into `config.pbtxt`, `server/engines/triton.py` sends and reads by it. The
model that Triton runs (`model_repository/tensorrt_llm/1/model.py`) imports nothing of ours, so a
test holds it to this table. Names are those of TensorRT-LLM's own model where it has the thing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor. `dtype` in Triton's words; a dimension of -1 is of any length."""

    name: str
    dtype: str
    length: int
    meaning: str


# All inputs are optional to Triton, because a bare `stop` has none of them; the model asks for
# `input_ids` and `max_tokens` itself.
INPUTS = (
    TensorRow("input_ids", "INT32", -1, "the prompt"),
    TensorRow("max_tokens", "INT32", 1, "the longest answer"),
    TensorRow("temperature", "FP32", 1, "0 or absent is greedy"),
    TensorRow("top_p", "FP32", 1, "1 or absent keeps all"),
    TensorRow("top_k", "INT32", 1, "0 or absent keeps all"),
    TensorRow("seed", "UINT64", 1, "absent: two equal requests may differ"),
    TensorRow("min_p", "FP32", 1, "drops ids less likely than that share of the likeliest"),
    TensorRow("repetition_penalty", "FP32", 1, "over prompt and answer"),
    TensorRow("presence_penalty", "FP32", 1, "over the answer"),
    TensorRow("frequency_penalty", "FP32", 1, "over the answer"),
    TensorRow("stop_token_ids", "INT32", -1, "ids that end the answer and are not part of it"),
    TensorRow("stream", "BOOL", 1, "true: tokens as they come; absent: one response"),
    TensorRow("num_logprobs", "INT32", 1, "1: also the log probability of each token"),
    TensorRow("lora_name", "STRING", 1, "the adapter; absent or empty is the base model"),
    TensorRow("stop", "BOOL", 1, "true: end the running request of the same id"),
)
OUTPUTS = (
    TensorRow("output_ids", "INT32", -1, "tokens since the response before"),
    TensorRow("log_probs", "FP32", -1, "one for each of them, if asked for"),
    TensorRow(
        "finish_reason",
        "STRING",
        1,
        "empty, and on the last response stop, length, cancelled or stopped",
    ),
)

# Keys of `parameters` in `config.pbtxt`.
ARTIFACT_DIGEST = "artifact_digest"
SOURCE_DIGEST = "source_digest"
TOKENIZER_DIGEST = "tokenizer_digest"
REFUSES = "refuses"
MAX_CONTEXT = "max_context"
MAX_ACTIVE = "max_active"
LLM_VERSION = "llm_version"
