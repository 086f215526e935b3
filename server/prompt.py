"""From a request to prompt ids that fit the context exactly.

    budget = context - answer - sentinels - header,  shared by snippets, suffix and prefix

Pieces of other files (`server.snippets`) stand first and have a fixed share of it at most.
A prefix is cut at its start and a suffix at its end, at line borders. The place of a cut is chosen
so that it stays where it is while somebody types: the suffix's share does not depend on single
characters of the prefix, and the prefix is cut on a grid of absolute positions. So with the suffix
in front (SPM order) almost the whole prompt is in the engine's prefix cache on the next keystroke.

A plain prompt (no suffix) is never cut: it is refused when it does not fit. Read
`PromptBuilder.build` first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from server.snippets import WINDOW_CHARS_PER_TOKEN, SnippetShelf, short_path
from tabwright.artifact import ModelArtifact
from tabwright.errors import InvalidRequest
from tabwright.request import CompletionRequest, SamplingParams

LONGEST_TOKEN_CHARS = 128
_SNIPPET_STEP = 64  # room beside a plain prompt counts in such steps while that grows


class ContextTooLong(InvalidRequest):
    """The prompt does not fit into the model's context."""


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """Ids for the engine, and the sampling with `max_tokens` that fits beside them."""

    ids: tuple[int, ...]
    sampling: SamplingParams


class PromptBuilder:
    """Builds prompts for one model."""

    def __init__(
        self, artifact: ModelArtifact, max_context: int, snippet_share: float = 0.25
    ) -> None:
        """Build for `artifact`, whose engine takes `max_context` tokens of prompt and answer.

        snippet_share: how much of a prompt pieces of other files may take.
        """
        self._artifact = artifact
        self._tokenizer = artifact.tokenizer
        self._fim = artifact.fim
        self._context = max_context
        self._snippet_share = snippet_share
        self._shelf = SnippetShelf(artifact.fim, artifact.tokenizer)
        # While somebody types, the text behind the cursor and the lines above it stay the same.
        self._start_of = lru_cache(maxsize=64)(self._first_lines)
        self._lines_above = lru_cache(maxsize=64)(lambda text: tuple(self._tokenizer.encode(text)))

    def build(self, request: CompletionRequest) -> BuiltPrompt:
        """Lay out the prompt.

        Raises:
            ContextTooLong: a plain prompt leaves no room for one token of answer.
            InvalidRequest: a token id outside the vocabulary.
        """
        if request.prompt_ids is not None:
            ids = self._checked(request.prompt_ids)
        elif request.suffix is None:
            ids = self._plain(request)
        else:
            ids = self._fill(request, request.suffix)
        if (
            not ids
        ):  # a model without a beginning-of-text token starts after the end of another text
            ids = [self._fim.stop_ids[0]]
        room = self._context - len(ids)
        if room < min(1, request.sampling.max_tokens):
            raise ContextTooLong(
                "prompt",
                f"{len(ids)} tokens",
                f"the model's context is {self._context} tokens with the answer; send less",
            )
        sampling = replace(
            request.sampling,
            max_tokens=min(request.sampling.max_tokens, room),
            stop_token_ids=(*request.sampling.stop_token_ids, *self._fim.stop_ids),
        )
        return BuiltPrompt(tuple(ids), sampling)

    def _checked(self, ids: tuple[int, ...]) -> list[int]:
        size = self._artifact.vocab_size
        for token_id in ids:
            if not 0 <= token_id < size:
                raise InvalidRequest("prompt", token_id, f"token ids go from 0 to {size - 1}")
        return list(ids)

    def _plain(self, request: CompletionRequest) -> list[int]:
        text = request.prefix
        if len(text) > self._context * LONGEST_TOKEN_CHARS:
            raise ContextTooLong(
                "prompt",
                f"{len(text)} characters",
                f"the model's context is {self._context} tokens with the answer; send less",
            )
        header = self._fim.header(short_path(request.path), self._tokenizer)
        ids = self._tokenizer.encode(text)
        room = self._context - len(ids) - self._fim.overhead(fill=False)
        if room <= len(header):
            header = []
        room -= len(header) + self._answer(request)
        share = min(room, int(self._context * self._snippet_share))
        others = self._shelf.lay_out(request, share // _SNIPPET_STEP * _SNIPPET_STEP)
        return self._fim.prompt([*others.prefix, *ids], None, [*others.header, *header])

    def _fill(self, request: CompletionRequest, suffix: str) -> list[int]:
        header = self._fim.header(short_path(request.path), self._tokenizer)
        budget = self._context - self._answer(request) - self._fim.overhead(fill=True) - len(header)
        if budget < len(header):
            header, budget = [], budget + len(header)
        others = self._shelf.lay_out(request, int(budget * self._snippet_share))
        budget -= len(others.header) + len(others.prefix)
        before, after = self._share(request.prefix, suffix, budget)
        return self._fim.prompt([*others.prefix, *before], after, [*others.header, *header])

    def _answer(self, request: CompletionRequest) -> int:
        """Tokens to reserve: clients that know no limit send thousands, which is no wish."""
        wanted = request.sampling.max_tokens
        return wanted if wanted <= self._context // 2 else self._context // 4

    def _share(self, prefix: str, suffix: str, budget: int) -> tuple[list[int], list[int]]:
        """Cut both to `budget` tokens: a quarter for the suffix, more if the prefix is short."""
        start = max(0, len(prefix) - budget * WINDOW_CHARS_PER_TOKEN) // 1024 * 1024
        line = max(start, prefix.rfind("\n") + 1)
        above = self._lines_above(prefix[start:line])
        about = [*above, *self._tokenizer.encode(prefix[line:])]
        step = max(1, budget // 8)
        wanted = -(-len(about) // step) * step
        allowed = max(budget // 4, budget - wanted)
        window = suffix[: allowed * WINDOW_CHARS_PER_TOKEN]
        after = self._start_of(window, len(window) == len(suffix), allowed)
        room = budget - len(after)
        if start == 0 and len(about) <= room:
            before = self._tokenizer.encode(prefix)
            if len(before) <= room:
                return before, list(after)
        # The cursor's line counts in large steps, so that single characters do not move the cut.
        step = max(1, budget // 32)
        size = len(above) + ((len(about) - len(above)) // step + 1) * step
        dropped = self._tokenizer.decode(about[: max(0, size - room)])
        return self._end_of(prefix, start + len(dropped), room), list(after)

    def _first_lines(self, window: str, whole: bool, allowed: int) -> tuple[int, ...]:
        """Ids of the first whole lines of a text, or of part of its first line."""
        ids = self._tokenizer.encode(window)
        if len(ids) <= allowed:
            if whole:
                return tuple(ids)
            kept = window
        else:
            kept = self._tokenizer.decode(ids[:allowed])
        lines = kept[: kept.rfind("\n") + 1]
        return tuple((self._tokenizer.encode(lines) or ids)[:allowed])

    def _end_of(self, text: str, earliest: int, allowed: int) -> list[int]:
        """Ids of the end of `text`, from a line start near a grid, after `earliest`."""
        step = max(1, allowed // 2)
        while step > 1 and step * 4 > len(text) - earliest:
            step //= 2  # few characters per token: a coarse grid would throw most of them away
        place = -(-earliest // step) * step
        while True:
            line_start = text.find("\n", max(0, place - 1), place + step) + 1
            ids = self._tokenizer.encode(text[line_start or place :])
            if len(ids) <= allowed:
                return ids
            place += step
