"""Prompts as ids: every family's layout, and what happens when the tokenizer lacks a sentinel."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as HubTokenizer

from tabwright.errors import ConfigError
from tabwright.fim import FAMILIES, PREFIX, SUFFIX, FimFormat, Order
from tabwright.tokenizer import Tokenizer
from tests.fakes.metaspace_tokenizer import metaspace_tokenizer
from tests.fakes.tiny_artifact import tiny_tokenizer

CASES = [(name, order) for name, family in FAMILIES.items() for order in family.layouts]

# Written out from each family's own documentation, so that the table is checked against something.
EXPECTED = {
    ("tabwright", "psm"): "<fim_prefix> P <fim_suffix> S <fim_middle>",
    ("tabwright", "spm"): "<fim_prefix> <fim_suffix> S <fim_middle> P",
    ("starcoder2", "psm"): "<fim_prefix> P <fim_suffix> S <fim_middle>",
    ("starcoder2", "spm"): "<fim_prefix> <fim_suffix> S <fim_middle> P",
    ("granite", "psm"): "<fim_prefix> P <fim_suffix> S <fim_middle>",
    ("qwen2.5-coder", "psm"): "<|fim_prefix|> P <|fim_suffix|> S <|fim_middle|>",
    ("deepseek-coder", "psm"): (
        "<｜begin▁of▁sentence｜> <｜fim▁begin｜> P <｜fim▁hole｜> S <｜fim▁end｜>"
    ),
    ("codellama", "psm"): "<s> ▁<PRE> P ▁<SUF> S ▁<MID>",
    ("codellama", "spm"): "<s> ▁<PRE> ▁<SUF> S ▁<MID> P",
    ("codegemma", "psm"): "<bos> <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|>",
    ("codestral", "spm"): "<s> [SUFFIX] S [PREFIX] P",
}


def byte_level(sentinels: tuple[str, ...]) -> Tokenizer:
    hub: HubTokenizer = tiny_tokenizer()
    hub.add_special_tokens([AddedToken(s, special=True) for s in sentinels])
    return Tokenizer(hub.to_str())


def bound(name: str, order: Order) -> tuple[FimFormat, Tokenizer]:
    tokenizer = byte_level(FAMILIES[name].sentinels)
    return FimFormat.bind(name, tokenizer, order), tokenizer


def test_the_expected_layouts_cover_every_family_and_order() -> None:
    assert set(EXPECTED) == {(name, order.value) for name, order in CASES}


@pytest.mark.parametrize(("name", "order"), CASES)
def test_the_layout_is_the_one_the_family_was_trained_with(name: str, order: Order) -> None:
    fim, _ = bound(name, order)
    prefix, suffix = [1001, 1002], [2001]
    names = {token_id: token for token, token_id in fim.ids.items()}
    shown = " ".join(
        {1001: "P", 2001: "S"}.get(i, names.get(i, ""))
        for i in fim.prompt(prefix, suffix)
        if i != 1002
    )
    assert shown == EXPECTED[name, order.value]


@pytest.mark.parametrize(("name", "order"), CASES)
def test_the_prompt_is_longer_than_its_texts_by_exactly_the_overhead(
    name: str, order: Order
) -> None:
    fim, tokenizer = bound(name, order)
    header = fim.header("a/b.py", tokenizer)
    prefix, suffix = tokenizer.encode("def f("), tokenizer.encode("):\n    pass\n")
    texts = len(header) + len(prefix)
    assert len(fim.prompt(prefix, suffix, header)) == texts + len(suffix) + fim.overhead(fill=True)
    assert len(fim.prompt(prefix, None, header)) == texts + fim.overhead(fill=False)


@pytest.mark.parametrize(("name", "order"), CASES)
def test_an_empty_suffix_still_asks_for_a_middle(name: str, order: Order) -> None:
    fim, _ = bound(name, order)
    assert len(fim.prompt([1], [])) == 1 + fim.overhead(fill=True)
    assert fim.prompt([1], None)[-1:] == [1]


@pytest.mark.parametrize(("name", "order"), CASES)
def test_the_header_stands_after_the_beginning_of_text_only(name: str, order: Order) -> None:
    fim, tokenizer = bound(name, order)
    header = fim.header("main.py", tokenizer)
    for prompt in (fim.prompt([5], [6], header), fim.prompt([5], None, header)):
        start = 1 if fim.family.bos else 0
        assert prompt[start : start + len(header)] == header
        if fim.family.bos:
            assert prompt[0] == fim.ids[fim.family.bos]
            assert prompt.count(prompt[0]) == 1


def test_a_family_without_a_file_sentinel_has_no_header() -> None:
    fim, tokenizer = bound("codellama", Order.PSM)
    assert fim.header("main.py", tokenizer) == []


def test_a_header_is_the_sentinel_the_path_and_a_newline() -> None:
    fim, tokenizer = bound("tabwright", Order.SPM)
    header = fim.header("<fim_middle>.py", tokenizer)
    assert header[0] == tokenizer.token_id("<file_sep>")
    assert not tokenizer.special_ids & set(header[1:])
    assert tokenizer.decode(header) == "<fim_middle>.py\n"
    assert fim.header(None, tokenizer) == fim.header("", tokenizer) == []


def test_spm_keeps_a_common_start_while_the_prefix_grows() -> None:
    fim, tokenizer = bound("tabwright", Order.SPM)
    suffix = tokenizer.encode("\n    return total\n")
    short, long = (fim.prompt(tokenizer.encode(text), suffix) for text in ("for", "for i in"))
    assert long[: len(short)] == short


def test_another_order_of_the_family_can_be_asked_for_by_call() -> None:
    fim, _ = bound("tabwright", Order.SPM)
    assert fim.prompt([1], [2], order=Order.PSM) != fim.prompt([1], [2])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_binds_to_a_sentencepiece_like_tokenizer_too(name: str) -> None:
    tokenizer = Tokenizer(metaspace_tokenizer(FAMILIES[name].sentinels).to_str())
    fim = FimFormat.bind(name, tokenizer)
    assert len(set(fim.ids.values())) == len(fim.ids)
    assert set(fim.stop_ids) <= tokenizer.special_ids


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_sentinel_is_refused_by_name(name: str) -> None:
    sentinels = FAMILIES[name].sentinels
    for missing in sentinels:
        others = [sentinel for sentinel in sentinels if sentinel != missing]
        tokenizer = Tokenizer(metaspace_tokenizer(others).to_str())
        with pytest.raises(ConfigError) as caught:
            FimFormat.bind(name, tokenizer)
        assert repr(missing) in str(caught.value)


def test_an_ordinary_token_cannot_be_a_sentinel() -> None:
    hub = tiny_tokenizer()
    missing = [s for s in FAMILIES["codestral"].sentinels if s != "[SUFFIX]"]
    hub.add_special_tokens([AddedToken(s, special=True) for s in missing])
    hub.add_tokens(["[SUFFIX]"])
    with pytest.raises(ConfigError, match=r"\[SUFFIX\]"):
        FimFormat.bind("codestral", Tokenizer(hub.to_str()))


def test_an_unknown_family_or_order_is_refused_with_what_is_known() -> None:
    tokenizer = byte_level(())
    with pytest.raises(ConfigError, match="known: tabwright"):
        FimFormat.bind("nobody", tokenizer)
    with pytest.raises(ConfigError, match="psm, spm"):
        FimFormat.bind("tabwright", tokenizer, "middle-out")
    with pytest.raises(ConfigError, match="not trained in order 'spm'"):
        FimFormat.bind("granite", tokenizer, "spm")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layout_has_each_text_once_and_starts_with_its_beginning_of_text(name: str) -> None:
    family = FAMILIES[name]
    for layout in family.layouts.values():
        assert layout.count(PREFIX) == layout.count(SUFFIX) == 1
        if family.bos:
            assert layout[0] == family.bos
