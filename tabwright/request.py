"""What a completion request asks for and what it gets, whatever protocol it came by.

Protocol files translate their wire models into these types and back; engines see only token ids and
`SamplingParams`. Nothing here knows HTTP or a tokenizer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from tabwright.errors import InvalidRequest


class Finish(StrEnum):
    """Why a generation ended by itself."""

    STOP = "stop"
    LENGTH = "length"


MOST_REPETITION = 10

# The most likely ids at one place with the natural-log probability of each, best first.
Ranking = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How an engine picks tokens, and what it reports about them.

    temperature 0 is greedy and ignores `top_p`, `top_k`, `min_p` and `seed`. `top_k` 0 means no
    limit. `seed` None means that two equal requests may differ. Generation ends after `max_tokens`
    tokens or at the first of `stop_token_ids`, which is not part of the answer. `max_tokens` 0
    generates nothing and asks for `prompt_logprobs`.

    The logits are changed in this order, each step optional:
    repetition_penalty: those of ids in the prompt or the answer so far are divided by it if
    positive and multiplied if negative. presence_penalty: subtracted once from those of ids in the
    answer so far; frequency_penalty: subtracted once for each time the id is there. logit_bias:
    pairs of id and what is added to its logit. Then temperature, `top_k`, `top_p`, and `min_p`,
    which drops ids less likely than that share of the likeliest.

    alternatives: how many of the likeliest ids to report at each place. prompt_logprobs: report the
    prompt's own tokens too. Log probabilities are always the model's own, before every change.
    Which of the fields from `min_p` on an engine cannot do, its `refuses` says.

    Raises:
        InvalidRequest: a value is out of its range.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    alternatives: int = 0
    prompt_logprobs: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 0:
            raise InvalidRequest("max_tokens", self.max_tokens, "give a whole number of at least 0")
        if not 0 <= self.temperature <= 2:  # also false for NaN
            raise InvalidRequest("temperature", self.temperature, "give a number from 0 to 2")
        if not 0 < self.top_p <= 1:
            raise InvalidRequest("top_p", self.top_p, "give a number above 0 and up to 1")
        if self.top_k < 0:
            raise InvalidRequest("top_k", self.top_k, "give 0 (no limit) or a positive number")
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise InvalidRequest("seed", self.seed, "give a whole number of at most 64 bits")
        if not 0 <= self.min_p <= 1:
            raise InvalidRequest("min_p", self.min_p, "give a number from 0 to 1")
        if not 0 < self.repetition_penalty <= MOST_REPETITION:
            raise InvalidRequest(
                "repetition_penalty",
                self.repetition_penalty,
                f"give a number above 0 and up to {MOST_REPETITION}",
            )
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2 <= getattr(self, name) <= 2:
                raise InvalidRequest(name, getattr(self, name), "give a number from -2 to 2")
        for token_id, bias in self.logit_bias:
            if not -100 <= bias <= 100:
                raise InvalidRequest(
                    f"logit_bias.{token_id}", bias, "give a number from -100 to 100"
                )
        if not 0 <= self.alternatives <= 20:
            raise InvalidRequest("alternatives", self.alternatives, "give a number from 0 to 20")

    def asked(self) -> frozenset[str]:
        """Names of the fields, of those that an engine may refuse, that this request uses."""
        if _OPTIONAL(self) == _NEUTRAL_VALUES:  # nearly always
            return frozenset()
        return frozenset(name for name, value in _NEUTRAL.items() if getattr(self, name) != value)


_NEUTRAL: dict[str, object] = {
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": (),
    "alternatives": 0,
    "prompt_logprobs": False,
}
_OPTIONAL, _NEUTRAL_VALUES = attrgetter(*_NEUTRAL), tuple(_NEUTRAL.values())
OPTIONAL_SAMPLING = frozenset(_NEUTRAL)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of another file that the editor thinks relevant.

    path: empty where the client does not tell. score: how relevant, compared with the others of the
    same request; None, above every number, where the client gave it without one.
    """

    path: str
    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One request for text at a cursor.

    prefix: text before the cursor; suffix: text after it, None for plain continuation (no
    fill-in-the-middle), the empty string for a cursor at the end of a file.
    snippets: pieces of other files, the most relevant first where scores are equal.
    repo: the repository's name, without its host.
    stop: strings that end the answer and are not part of it.
    session: names one editor window; a newer request of the same session ends the older one.
    deadline_s: seconds from arrival until the request ends with DeadlineExceeded.
    prompt_ids: the whole prompt as token ids, in place of prefix and suffix.
    answer_ms: milliseconds after the first token when the answer ends, but not before a line break
    is in it; None for no such limit.
    reuse: whether an answer to another request of the same caller will do, where it says the same.

    Raises:
        InvalidRequest: a value is out of its range.
    """

    prefix: str
    suffix: str | None = None
    path: str | None = None
    language: str | None = None
    snippets: tuple[Snippet, ...] = ()
    sampling: SamplingParams = field(default_factory=SamplingParams)
    stop: tuple[str, ...] = ()
    model: str | None = None
    user: str | None = None
    session: str | None = None
    deadline_s: float | None = None
    prompt_ids: tuple[int, ...] | None = None
    answer_ms: float | None = None
    reuse: bool = True
    repo: str | None = None

    def __post_init__(self) -> None:
        if any(not s for s in self.stop):
            raise InvalidRequest("stop", "", "leave out empty stop strings")
        if self.deadline_s is not None and not (
            self.deadline_s > 0 and math.isfinite(self.deadline_s)
        ):
            raise InvalidRequest("deadline_s", self.deadline_s, "give seconds above 0")


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """The tokens of a prompt and how likely the model finds each after those before it.

    The first has no probability: nothing stands before it. alternatives: a ranking for each token,
    the first's empty; empty as a whole if none were asked for.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    alternatives: tuple[Ranking, ...] = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One piece of an answer, in order. The last piece has `finish`; only it has the final `usage`.

    ids, logprobs: the tokens generated since the piece before, and the natural-log probability of
    each. Text that may be the start of a stop string is held back, so they can run ahead of `text`.
    alternatives: a ranking for each of `ids`, if asked for. prompt: on the first piece, likewise.
    """

    text: str
    finish: Finish | None = None
    usage: Usage = Usage()
    logprobs: tuple[float, ...] = ()
    ids: tuple[int, ...] = ()
    alternatives: tuple[Ranking, ...] = ()
    prompt: ScoredPrompt | None = None
