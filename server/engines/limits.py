"""What any engine checks before it takes a request, so that the native code behind it never has to.

OpenVINO answers an id outside the vocabulary with garbage and an oversized prompt with silence;
here both are refused by name. Knows nothing about slots or blocks (`line.py`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from tabwright.errors import InvalidRequest
from tabwright.request import SamplingParams

REFUSAL = "the engine of this server cannot do it; leave it out"


def tokens_granted(
    prompt: Sequence[int],
    sampling: SamplingParams,
    *,
    vocab_size: int,
    max_context: int,
    refuses: Set[str] = frozenset(),
) -> int:
    """Check one request and return how many tokens it may generate: `max_tokens` or what fits.

    Raises:
        InvalidRequest: the prompt is empty, has an id outside the vocabulary, or leaves no room
            for one token; nothing is asked for; or a field that the engine refuses is.
    """
    for name in sorted(sampling.asked() & refuses):
        raise InvalidRequest(name, getattr(sampling, name), REFUSAL)
    if sampling.max_tokens == 0 and not sampling.prompt_logprobs:
        raise InvalidRequest("max_tokens", 0, "give at least 1, or ask for prompt_logprobs")
    if not prompt:
        raise InvalidRequest("prompt", [], "give at least one token")
    if min(prompt) < 0 or max(prompt) >= vocab_size:
        wrong = next(i for i in prompt if not 0 <= i < vocab_size)
        raise InvalidRequest("prompt", wrong, f"token ids run from 0 to {vocab_size - 1}")
    if len(prompt) + min(1, sampling.max_tokens) > max_context:
        raise InvalidRequest(
            "prompt",
            f"{len(prompt)} tokens",
            f"the context holds {max_context} tokens, prompt and answer together",
        )
    wrong_bias = [i for i, _ in sampling.logit_bias if not 0 <= i < vocab_size]
    if wrong_bias:
        raise InvalidRequest(
            "logit_bias", wrong_bias[0], f"token ids run from 0 to {vocab_size - 1}"
        )
    wrong_stop = [i for i in sampling.stop_token_ids if not 0 <= i < vocab_size]
    if wrong_stop:
        raise InvalidRequest(
            "stop_token_ids", wrong_stop, f"token ids run from 0 to {vocab_size - 1}"
        )
    return min(sampling.max_tokens, max_context - len(prompt))
