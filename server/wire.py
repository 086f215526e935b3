"""Pieces of the wire that several protocols share: numbers, ids, stop strings, usage, times.

What a whole body looks like stays in the protocol's own file, which only takes its bricks here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from server.inflight import Running
from tabwright.errors import InvalidRequest
from tabwright.request import Usage

_STOP_CHARS = 16_384  # bounds the time to prepare the search, not the number of stop strings

Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]
Ids = list[Annotated[int, Field(strict=True, ge=0)]]


class Spent(NamedTuple):
    """Where the time of a request went: until its first token, and since."""

    prompt_s: float
    answer_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What every chunk of one answer has in common in OpenAI's shape, which Mistral shares."""

    id: str
    created: int
    model: str

    def body(
        self, kind: str, rows: Sequence[Mapping[str, Any]], usage: Usage | None = None
    ) -> dict[str, Any]:
        """One object of `kind` with these choices; `usage` only where it is to be shown."""
        body: dict[str, Any] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": rows,
        }
        if usage is not None:
            body["usage"] = usage_body(usage)
        return body


def stop_strings(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Any number of stop strings; an empty one, which some clients send for none, ends nothing.

    Raises:
        InvalidRequest: they are too long in all.
    """
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if sum(map(len, stops)) > _STOP_CHARS:
        raise InvalidRequest(
            "stop", f"{len(stops)} strings", f"give at most {_STOP_CHARS} characters in all"
        )
    return tuple(s for s in stops if s)


def repository_name(url: str | None) -> str | None:
    """Owner and name out of a clone address, in any of git's spellings; nothing else of it."""
    parts = [p for p in re.split(r"[/:\\]", (url or "").strip().removesuffix(".git")) if p]
    return "/".join(parts[-2:])[-100:] or None


def usage_body(usage: Usage) -> dict[str, int]:
    """Token counts as OpenAI and Mistral name them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def error_kind(status: int) -> str:
    """The type of an error, as OpenAI names it and others after them."""
    known = {
        401: "authentication_error",
        403: "permission_error",
        429: "rate_limit_error",
    }.get(status)
    return known or ("server_error" if status >= 500 else "invalid_request_error")


def spent(running: Running) -> Spent:
    """Measure a request up to now; waiting in line counts to the prompt."""
    now = time.perf_counter()
    first = running.first_token_at or now
    return Spent(first - running.started_at, now - first)


def latency_ms(running: Running) -> Mapping[str, float | None]:
    """Milliseconds since the request was read: until its slot, its first token, and now."""
    moments = {
        "wait": running.admitted_at,
        "first_token": running.first_token_at,
        "total": time.perf_counter(),
    }
    return {
        name: None if at is None else round((at - running.started_at) * 1000, 3)
        for name, at in moments.items()
    }
