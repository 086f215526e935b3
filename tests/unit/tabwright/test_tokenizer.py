"""Text to ids and back, whole and piece by piece, with a byte-level and a Metaspace vocabulary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from tabwright.errors import CorruptArtifact
from tabwright.fim import FAMILIES
from tabwright.tokenizer import Tokenizer
from tests.fakes.metaspace_tokenizer import metaspace_tokenizer
from tests.fakes.tiny_artifact import tiny_tokenizer

BYTE_LEVEL = Tokenizer(tiny_tokenizer().to_str())
METASPACE = Tokenizer(metaspace_tokenizer().to_str())
BOTH = pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, METASPACE], ids=["bytes", "metaspace"])
SENTINELS = FAMILIES["tabwright"].sentinels

# Texts that hurt: several bytes a character, joined emoji, blanks at the ends, sentinels as text.
PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["🙂", "👩‍👩‍👧", "東京", "é", " ", "   ", "\n", "\t", "\r\n", "\ufffd", "\x00"]
    ),
    st.sampled_from([*SENTINELS, "<s>", "</s>", "<0x41>", "▁"]),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
# `▁` is how such a vocabulary writes a blank: that character alone cannot survive it.
PLAIN = TEXTS.map(lambda text: text.replace("▁", ""))


def stream(
    tokenizer: Tokenizer, prompt: Sequence[int], ids: Sequence[int], cuts: Sequence[int]
) -> list[str]:
    """Push `ids` in chunks whose sizes are `cuts`, repeated; return the pieces."""
    detokenizer = tokenizer.detokenizer(prompt)
    pieces, at, turn = [], 0, 0
    while at < len(ids):
        size = cuts[turn % len(cuts)]
        pieces.append(detokenizer.push(ids[at : at + size]))
        at, turn = at + size, turn + 1
    return [*pieces, detokenizer.flush()]


@given(TEXTS)
def test_byte_level_text_survives_encoding(text: str) -> None:
    assert BYTE_LEVEL.decode(BYTE_LEVEL.encode(text)) == text


@given(PLAIN)
def test_metaspace_text_survives_encoding(text: str) -> None:
    assert METASPACE.decode(METASPACE.encode(text)) == text


@given(TEXTS)
def test_text_of_a_sentinel_never_becomes_a_control_token(text: str) -> None:
    for tokenizer in (BYTE_LEVEL, METASPACE):
        assert not tokenizer.special_ids & set(tokenizer.encode(text))


@given(st.lists(TEXTS, max_size=4))
def test_a_batch_encodes_like_its_texts_one_by_one(texts: list[str]) -> None:
    assert BYTE_LEVEL.encode_batch(texts) == [BYTE_LEVEL.encode(text) for text in texts]


@given(TEXTS, TEXTS, st.lists(st.integers(1, 4), min_size=1, max_size=5))
@settings(max_examples=300)
def test_byte_level_pieces_join_to_the_text_in_any_chunking(
    before: str, text: str, cuts: list[int]
) -> None:
    ids = BYTE_LEVEL.encode(text)
    pieces = stream(BYTE_LEVEL, BYTE_LEVEL.encode(before), ids, cuts)
    assert "".join(pieces) == text


@given(PLAIN.filter(bool), PLAIN, st.lists(st.integers(1, 4), min_size=1, max_size=5))
@settings(max_examples=300)
def test_metaspace_pieces_join_to_the_text_in_any_chunking(
    before: str, text: str, cuts: list[int]
) -> None:
    prompt = METASPACE.encode(before)
    joined = METASPACE.encode(before + text)
    if joined[: len(prompt)] != prompt:  # one token spans the seam: the ids say nothing then
        return
    assert "".join(stream(METASPACE, prompt, joined[len(prompt) :], cuts)) == text


@BOTH
@given(data=st.data(), cuts=st.lists(st.integers(1, 4), min_size=1))
@settings(max_examples=300)
def test_any_ids_whatsoever_join_to_what_decode_says(
    tokenizer: Tokenizer, data: st.DataObject, cuts: list[int]
) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    assert "".join(stream(tokenizer, [], ids, cuts)) == tokenizer.decode(ids)


@BOTH
def test_half_a_character_is_held_back(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("x🙂y")
    pieces = stream(tokenizer, tokenizer.encode("a"), ids, [1])
    assert not any("\ufffd" in piece for piece in pieces)
    assert pieces[-1] == ""
    assert "".join(pieces).strip() == "x🙂y"


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_an_unfinished_character_is_one_replacement_and_costs_no_other(
    tokenizer: Tokenizer, size: int
) -> None:
    ids = tokenizer.encode("ok 龍龘")
    pieces = stream(tokenizer, [], ids[:-1], [size])
    assert "".join(pieces) == "ok 龍\ufffd"


def test_a_leading_blank_is_kept_after_a_prompt() -> None:
    for tokenizer in (BYTE_LEVEL, METASPACE):
        whole, prompt = tokenizer.encode("def a"), tokenizer.encode("def")
        assert whole[: len(prompt)] == prompt
        assert "".join(stream(tokenizer, prompt, whole[len(prompt) :], [1])) == " a"


def test_the_prompt_itself_is_never_emitted() -> None:
    detokenizer = BYTE_LEVEL.detokenizer(BYTE_LEVEL.encode("secret = 東京"))
    assert detokenizer.push(BYTE_LEVEL.encode("!")) == "!"
    assert detokenizer.flush() == ""


def test_control_tokens_have_no_text() -> None:
    middle = BYTE_LEVEL.token_id("<fim_middle>")
    assert middle is not None
    ids = [middle, *BYTE_LEVEL.encode("a"), middle, *BYTE_LEVEL.encode("b"), middle]
    assert BYTE_LEVEL.decode(ids) == "ab"
    assert "".join(stream(BYTE_LEVEL, [middle], ids, [1])) == "ab"


def test_only_control_tokens_have_a_token_id() -> None:
    assert BYTE_LEVEL.token_id("<fim_prefix>") in BYTE_LEVEL.special_ids
    assert BYTE_LEVEL.token_id("def") is None
    assert BYTE_LEVEL.token_id("<nowhere>") is None


def test_half_of_a_surrogate_pair_is_replaced_not_refused() -> None:
    assert BYTE_LEVEL.decode(BYTE_LEVEL.encode("a\ud83db")) == "a\ufffdb"
    assert BYTE_LEVEL.encode_batch(["\udc00"]) == [BYTE_LEVEL.encode("\ufffd")]


def test_an_added_token_that_is_not_special_keeps_its_text_and_its_id() -> None:
    # Gemma adds runs of blanks and HTML tags, Qwen its tool tags, next to the control tokens.
    plain = tiny_tokenizer()
    plain.add_tokens([AddedToken("<table>", special=False), AddedToken("<|fim_x|>", special=False)])
    plain.add_tokens([AddedToken("\n\n", special=False, normalized=False)])
    tokenizer = Tokenizer(plain.to_str())
    table = plain.token_to_id("<table>")
    assert tokenizer.encode("<table>") == [table]
    assert tokenizer.decode(tokenizer.encode("<table>\n\n")) == "<table>\n\n"
    assert tokenizer.token_id("<|fim_x|>") == plain.token_to_id("<|fim_x|>")
    assert tokenizer.token_id("<|fim_x|>") not in tokenizer.encode("<|fim_x|>")
    assert tokenizer.token_id("<table>") is None


def test_every_id_is_below_the_vocabulary_size() -> None:
    for tokenizer in (BYTE_LEVEL, METASPACE):
        assert max(tokenizer.special_ids) < tokenizer.vocab_size


def test_truncation_and_padding_in_the_file_are_ignored() -> None:
    hub = tiny_tokenizer()
    hub.enable_truncation(4)
    hub.enable_padding(length=50)
    tokenizer = Tokenizer(hub.to_str())
    text = "def add(first, second): return first"
    assert tokenizer.encode(text) == BYTE_LEVEL.encode(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {}}', json.dumps("x")])
def test_a_text_that_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
        Tokenizer(text)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


@BOTH
@given(text=PLAIN)
def test_the_bytes_of_tokens_joined_are_those_of_the_text(tokenizer: Tokenizer, text: str) -> None:
    joined = b"".join(map(tokenizer.token_bytes, tokenizer.encode(text)))
    # A Metaspace vocabulary puts a blank in front of every text.
    assert joined in (text.encode(), b" " + text.encode())


@BOTH
def test_a_token_is_shown_as_text_bytes_or_name(tokenizer: Tokenizer) -> None:
    parts = [tokenizer.shown(i).removeprefix("bytes:") for i in tokenizer.encode("🙂")]
    assert "".join(parts).strip() == "\\xf0\\x9f\\x99\\x82"
    assert len(parts) > 1
    assert tokenizer.shown(tokenizer.encode("x def")[-1]).endswith("def")
    assert tokenizer.shown(10**6) == "token_id:1000000"
    assert tokenizer.token_bytes(10**6) == b""
    for token_id in tokenizer.special_ids:
        assert tokenizer.token_id(tokenizer.shown(token_id)) == token_id
        assert tokenizer.token_bytes(token_id) == b""


def test_a_blank_that_belongs_to_a_token_is_shown() -> None:
    assert [METASPACE.shown(i) for i in METASPACE.encode("x def")] == [" ", "x", " def"]
