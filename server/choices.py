"""Several generations for one request: n choices, several prompts, each with its own seed.

Greedy choices are all equal, so they are generated once and shown n times. The pieces of different
choices come in any order, the pieces of one in theirs. The first failure ends the others. However
many choices a request has, only a few of them stand in line at a time, so that one request for a
hundred does not keep everybody else out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import anyio
import anyio.lowlevel

from server.completer import Completer
from server.fingerprint import fingerprints, landing
from server.inflight import Running
from tabwright.request import CompletionRequest, Suggestion, Usage

_ABREAST = 4


@dataclass(frozen=True, slots=True, eq=False)  # a key of dictionaries, by identity
class Choice:
    """One generation for prompt number `prompt`, shown as the choices `indices`."""

    prompt: int
    indices: tuple[int, ...]
    request: CompletionRequest


class Collected(NamedTuple):
    """Every piece of every choice, by the index it is shown under."""

    rows: list[list[Suggestion]]
    usage: Usage


Take = Callable[[Choice, Suggestion], Awaitable[None]]


def spread(requests: Sequence[CompletionRequest], n: int) -> Iterator[Choice]:
    """Make n choices of every request; choice i of request p has the index p * n + i."""
    for prompt, request in enumerate(requests):
        indices = range(prompt * n, prompt * n + n)
        if request.sampling.temperature == 0:
            yield Choice(prompt, tuple(indices), request)
            continue
        for number, index in enumerate(indices):
            seed = derived_seed(request.sampling.seed, number)
            sampling = replace(request.sampling, seed=seed)
            reuse = request.reuse and n == 1  # several choices are asked for because they differ
            yield Choice(prompt, (index,), replace(request, sampling=sampling, reuse=reuse))


def derived_seed(seed: int | None, number: int) -> int | None:
    """The seed of choice `number`: the request's own for the first, far from it for the others."""
    if seed is None or number == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


async def collect(completer: Completer, choices: Sequence[Choice], running: Running) -> Collected:
    """Run all choices side by side to their end."""
    rows: dict[int, list[Suggestion]] = {i: [] for choice in choices for i in choice.indices}

    async def take(choice: Choice, piece: Suggestion) -> None:
        for index in choice.indices:
            rows[index].append(piece)

    usage = await generate(completer, choices, running, take)
    return Collected([rows[index] for index in sorted(rows)], usage)


async def generate(
    completer: Completer, choices: Sequence[Choice], running: Running, take: Take
) -> Usage:
    """Run all choices side by side, hand every piece to `take`, return the summed usage."""
    prompt_tokens: dict[int, int] = {}
    completion_tokens = 0

    async def one(choice: Choice, patient: bool) -> None:
        nonlocal completion_tokens
        texts: list[str] = []
        try:
            async with completer.complete(choice.request, running, patient=patient) as pieces:
                async for piece in pieces:
                    texts.append(piece.text)
                    await take(choice, piece)
                    if piece.finish:
                        prompt_tokens[choice.prompt] = piece.usage.prompt_tokens
                        completion_tokens += piece.usage.completion_tokens * len(choice.indices)
                        # What was sent leaves when the loop turns, and tidying up can wait.
                        await anyio.lowlevel.checkpoint()
        finally:  # what was sent before a client left may have been shown
            running.blank = running.blank and not "".join(texts).strip()
            running.fingerprints |= fingerprints(choice.request, texts)
            running.landing = landing(choice.request)

    async def one_of_many(choice: Choice, abreast: anyio.CapacityLimiter, patient: bool) -> None:
        async with abreast:
            await one(choice, patient)

    if len(choices) == 1:
        await one(choices[0], False)
    else:
        abreast = anyio.CapacityLimiter(_ABREAST)
        try:
            async with anyio.create_task_group() as tasks:
                for place, choice in enumerate(choices):
                    tasks.start_soon(one_of_many, choice, abreast, place > 0)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    return Usage(sum(prompt_tokens.values()), completion_tokens)
