"""One choice as OpenAI's completions show it: text, and the table of its tokens if asked for.

    tokens, token_logprobs, top_logprobs, text_offset

A token that is no whole text is shown by its bytes (`bytes:\\xe2\\x80`), a control token by its
name. Offsets count characters of the text shown, the echoed prompt included; tokens that share a
character share its offset. Tokens behind the place where a stop string cut the text are left out,
and while text is held back its tokens are too. Read `ShownChoice.show` first.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabwright.request import Finish, Ranking, ScoredPrompt, Suggestion
from tabwright.tokenizer import Tokenizer


class _Row(NamedTuple):
    token_id: int
    logprob: float | None
    ranking: Ranking
    offset: int


class ShownChoice:
    """One choice, piece by piece."""

    def __init__(
        self, tokenizer: Tokenizer, echo: str, logprobs: int | None, *, literal: bool = True
    ) -> None:
        """Show `echo` before the answer, and the table if `logprobs` is a number.

        literal: the prompt was text, so control tokens in front of it are not the user's.
        """
        self._tokenizer = tokenizer
        self._echo = echo
        self._echoed = len(echo)
        self._logprobs = logprobs
        self._literal = literal
        self._shown = 0
        self._held: list[_Row] = []
        self._place = _Place(tokenizer, len(echo))

    def show(self, *pieces: Suggestion) -> dict[str, Any]:
        """Join pieces into the fields of a choice."""
        text = self._echo + "".join(piece.text for piece in pieces)
        self._echo = ""
        row: dict[str, Any] = {"text": text, "logprobs": None}
        self._shown += len(text)
        if self._logprobs is not None:
            row["logprobs"] = self._table(pieces)
        row["finish_reason"] = pieces[-1].finish
        return row

    def _table(self, pieces: Sequence[Suggestion]) -> dict[str, Any]:
        for piece in pieces:
            if piece.prompt is not None:
                self._held += self._prompt_rows(piece.prompt)
            rankings = piece.alternatives or ((),) * len(piece.ids)
            for token_id, logprob, ranking in zip(piece.ids, piece.logprobs, rankings, strict=True):
                self._held.append(_Row(token_id, logprob, ranking, self._place.of(token_id)))
        rows = self._held
        if pieces[-1].finish is not Finish.LENGTH:  # then every token is part of the answer
            rows = [row for row in rows if row.offset < self._shown]
        self._held = self._held[len(rows) :]
        return {
            "tokens": [self._tokenizer.shown(row.token_id) for row in rows],
            "token_logprobs": [row.logprob for row in rows],
            "top_logprobs": [self._likeliest(row) for row in rows] if self._logprobs else None,
            "text_offset": [row.offset for row in rows],
        }

    def _prompt_rows(self, prompt: ScoredPrompt) -> list[_Row]:
        rankings = prompt.alternatives or ((),) * len(prompt.ids)
        # Some tokenizers put a blank in front of a text, which is in its tokens and not in itself.
        length = _Place(self._tokenizer, 0)
        for token_id in prompt.ids:
            length.of(token_id)
        place = _Place(self._tokenizer, self._echoed - length.characters)
        rows = [
            _Row(token_id, logprob, ranking, max(0, place.of(token_id)))
            for token_id, logprob, ranking in zip(
                prompt.ids, prompt.logprobs, rankings, strict=True
            )
        ]
        while self._literal and rows and rows[0].token_id in self._tokenizer.special_ids:
            rows.pop(0)
        return rows

    def _likeliest(self, row: _Row) -> Mapping[str, float] | None:
        if row.logprob is None:
            return None
        ranked = {self._tokenizer.shown(i): logprob for i, logprob in row.ranking}
        return {self._tokenizer.shown(row.token_id): row.logprob} | ranked


class _Place:
    """Counts the characters in front of each token."""

    def __init__(self, tokenizer: Tokenizer, start: int) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.characters = start

    def of(self, token_id: int) -> int:
        """The place where the next token begins."""
        place = self.characters
        self.characters += len(self._decoder.decode(self._tokenizer.token_bytes(token_id)))
        return place
