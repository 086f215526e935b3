"""How a choice is shown, whatever the pieces and the tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.token_table import ShownChoice
from tabwright.request import Finish, ScoredPrompt, Suggestion
from tabwright.tokenizer import Tokenizer
from tests.fakes.metaspace_tokenizer import metaspace_tokenizer
from tests.fakes.tiny_artifact import tiny_tokenizer

BYTE_LEVEL = Tokenizer(tiny_tokenizer().to_str())
METASPACE = Tokenizer(metaspace_tokenizer().to_str())
BOTH = pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, METASPACE], ids=["bytes", "metaspace"])
TEXT = "def naïve(): 🙂\n"


def scored(ids: list[int]) -> ScoredPrompt:
    return ScoredPrompt(tuple(ids), (None, *[-1.0] * (len(ids) - 1)))


def pieces(ids: list[int], tokenizer: Tokenizer, cuts: set[int]) -> list[Suggestion]:
    """The answer `ids` as the gateway would hand it on, cut after the places `cuts`."""
    detokenizer = tokenizer.detokenizer(tokenizer.encode("x"))
    found, held = [], []
    for place, token_id in enumerate(ids):
        held.append(token_id)
        last = place == len(ids) - 1
        text = detokenizer.push([token_id])
        if last or (place in cuts and text):
            finish = Finish.STOP if last else None
            found.append(Suggestion(text, finish, ids=tuple(held), logprobs=(-1.0,) * len(held)))
            held = []
        else:
            found.append(Suggestion(text))
    return found


@BOTH
def test_offsets_of_an_echoed_prompt_point_into_it(tokenizer: Tokenizer) -> None:
    shown = ShownChoice(tokenizer, TEXT, 0).show(
        Suggestion("", Finish.LENGTH, prompt=scored(tokenizer.encode(TEXT)))
    )
    table = shown["logprobs"]
    assert shown["text"] == TEXT
    for token, offset in zip(table["tokens"], table["text_offset"], strict=True):
        if not token.startswith("bytes:") and offset:
            assert TEXT.startswith(token, offset)
    assert table["text_offset"][-1] == len(TEXT) - 1
    assert table["token_logprobs"][0] is None


@given(cuts=st.sets(st.integers(0, 40)))
def test_the_table_does_not_depend_on_the_pieces(cuts: set[int]) -> None:
    ids = BYTE_LEVEL.encode(TEXT)
    whole = ShownChoice(BYTE_LEVEL, "é", 1).show(*pieces(ids, BYTE_LEVEL, set()))
    choice = ShownChoice(BYTE_LEVEL, "é", 1)
    rows = [choice.show(piece) for piece in pieces(ids, BYTE_LEVEL, cuts)]
    assert "".join(row["text"] for row in rows) == whole["text"] == "é" + TEXT
    for field, values in whole["logprobs"].items():
        assert [v for row in rows for v in row["logprobs"][field]] == values


def test_control_tokens_in_front_of_a_text_prompt_are_not_shown() -> None:
    begin = sorted(METASPACE.special_ids)[0]
    ids = [begin, *METASPACE.encode("a def")]
    piece = Suggestion("", Finish.LENGTH, prompt=scored(ids))
    text = ShownChoice(METASPACE, "a def", 0).show(piece)["logprobs"]
    assert text["token_logprobs"] == [-1.0] * (len(ids) - 1)
    given_ids = ShownChoice(METASPACE, "a def", 0, literal=False).show(piece)["logprobs"]
    assert given_ids["tokens"][0] == METASPACE.shown(begin)


def test_an_empty_prompt_has_an_empty_table() -> None:
    stop = sorted(BYTE_LEVEL.special_ids)[0]
    piece = Suggestion("", Finish.LENGTH, prompt=scored([stop]))
    shown: dict[str, Any] = ShownChoice(BYTE_LEVEL, "", 2).show(piece)
    assert shown["logprobs"]["tokens"] == shown["logprobs"]["top_logprobs"] == []
