"""Does every kind of example hold its text whole, and learn what it should?"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat, Order
from tabwright.tokenizer import Tokenizer
from training.chance import drawn, share, shuffled
from training.examples.denoising import DENOISERS, denoised
from training.examples.example import Example, Kind
from training.examples.infill import Infilling
from training.examples.original import original
from training.examples.prefix import continued
from training.examples.recipe import Material, Pieces, Rates, Recipe
from training.examples.sentinels import SPARE, Mode, Sentinels
from training.examples.spans import Spans
from training.examples.splitting import Vocabulary
from training.tokenizer import train_tokenizer

CODE = (
    'def add(a, b):\n    """Größe: ∑"""\n    return a + b\n\n\nfor i in range(10):\n    print(i)\n'
)
SPANS = {"character": Spans(1, 0), "line": Spans(0, 1), "syntax": Spans(0, 0, 1)}
TEXTS = st.text() | st.text("ab1 \n\t(.é")
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    target = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer([CODE] * 5, 600, target)
    return Vocabulary(Tokenizer.from_file(target))


def _fim(vocabulary: Vocabulary) -> FimFormat:
    return FimFormat.bind("tabwright", vocabulary.tokenizer)


def _infilling(vocabulary: Vocabulary, spm_rate: float, spans: str) -> Infilling:
    return Infilling(vocabulary, _fim(vocabulary), spm_rate, SPANS[spans])


def _sentinels(vocabulary: Vocabulary) -> Sentinels:
    return Sentinels.bind(vocabulary.tokenizer, "the test")


def _raw(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return original(ids, vocabulary, _fim(vocabulary), _sentinels(vocabulary)).text


@given(TEXTS, SEEDS, st.sampled_from(sorted(SPANS)), st.sampled_from(["python", "no such"]))
@settings(max_examples=100, deadline=None)
def test_a_hole_lies_within_the_text_and_is_not_empty(
    text: str, seed: int, spans: str, language: str
) -> None:
    hole = SPANS[spans].cut(text, language, Random(seed))
    if hole is None:
        assert not text.strip()
    else:
        assert 0 <= hole.start < hole.end <= len(text)


def test_a_hole_by_syntax_is_a_whole_construct() -> None:
    rng = Random(0)
    holes = [SPANS["syntax"].cut(CODE, "python", rng) for _ in range(200)]
    middles = {CODE[hole.start : hole.end] for hole in holes if hole}
    assert {"add", "a + b", "return a + b", "range(10)", "print(i)"} <= middles
    assert '"""Größe: ∑"""' in middles
    assert "a +" not in middles


@given(TEXTS, st.data())
@settings(max_examples=100, deadline=None)
def test_parts_are_tokenised_as_if_each_stood_alone(
    vocabulary: Vocabulary, text: str, data: st.DataObject
) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    cuts = [len(text[:place].encode()) for place in places]
    parts = [text[a:b] for a, b in pairwise([0, *places, len(text)])]
    ids = vocabulary.tokenizer.encode(text)
    assert vocabulary.split(ids, cuts) == [vocabulary.tokenizer.encode(part) for part in parts]


def test_only_the_tokens_around_a_cut_are_made_anew(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vocabulary.has_words
    encode, lengths = vocabulary.tokenizer.encode, list[int]()

    def counted(text: str) -> list[int]:
        lengths.append(len(text))
        return encode(text)

    ids = encode(CODE * 40)
    monkeypatch.setattr(vocabulary.tokenizer, "encode", counted)
    vocabulary.split(ids, [1000, 1500])
    assert max(lengths) < 40


@given(TEXTS, SEEDS, st.sampled_from([0.0, 1.0]), st.sampled_from(sorted(SPANS)))
@settings(max_examples=100, deadline=None)
def test_prefix_middle_and_suffix_join_to_the_window(
    vocabulary: Vocabulary, text: str, seed: int, spm_rate: float, spans: str
) -> None:
    window = vocabulary.tokenizer.encode(text)
    infilling = _infilling(vocabulary, spm_rate, spans)
    ids = infilling.ids(window, "python", [], Random(seed))
    if ids is None:
        assert not text.strip()
        return
    assert _raw(vocabulary, ids) == vocabulary.raw(window)
    assert ids[-1] == vocabulary.tokenizer.token_id("<|endoftext|>")


@pytest.mark.parametrize("order", list(Order))
def test_a_hole_is_laid_out_as_serving_does(vocabulary: Vocabulary, order: Order) -> None:
    fim, encode = _fim(vocabulary), vocabulary.tokenizer.encode
    infilling = _infilling(vocabulary, float(order is Order.SPM), "line")
    header = fim.header("src/a.py", vocabulary.tokenizer)
    for seed in range(30):
        ids = infilling.ids(encode(CODE), "python", header, Random(seed))
        hole = Spans(0, 1).cut(CODE, "python", Random(seed))
        assert ids is not None
        assert hole is not None
        prompt = fim.prompt(encode(CODE[: hole.start]), encode(CODE[hole.end :]), header, order)
        middle = encode(CODE[hole.start : hole.end])
        assert ids == [*prompt, *middle, fim.stop_ids[0]]


def test_a_window_that_cuts_a_character_has_no_hole(vocabulary: Vocabulary) -> None:
    broken = vocabulary.tokenizer.encode("∑")[:1]
    assert vocabulary.text(broken) is None
    assert _infilling(vocabulary, 0.5, "line").ids(broken, "python", [], Random(0)) is None


@given(st.integers(8, 700), st.integers(0, 6), st.integers(0, 400), SEEDS)
@settings(max_examples=100, deadline=None)
def test_denoising_loses_nothing_and_takes_the_room_it_says(
    vocabulary: Vocabulary, size: int, which: int, spare: int, seed: int
) -> None:
    denoiser = DENOISERS[which]
    window = [50 + Random(seed).randrange(200) for _ in range(size)]
    header = _fim(vocabulary).header("src/a.py", vocabulary.tokenizer)
    room = len(header) + size + spare
    tail = denoiser.tail(size, room - len(header))
    if not tail:
        assert spare < denoiser.extra(16) or size < 8
        return
    end = vocabulary.tokenizer.token_id("<|endoftext|>") or 0
    sentinels = _sentinels(vocabulary)
    made = denoised(window, header, denoiser, tail, sentinels, end, Random(seed))
    assert len(made.ids) == len(header) + size + denoiser.extra(tail) <= room
    restored = original(made.ids, vocabulary, _fim(vocabulary), sentinels)
    assert restored.text == vocabulary.raw(window)
    assert restored.header == b"src/a.py"


def test_denoisers_cut_out_the_share_they_are_named_for(vocabulary: Vocabulary) -> None:
    sentinels, window = _sentinels(vocabulary), list(range(100, 500))
    for denoiser in DENOISERS:
        made = denoised(window, [], denoiser, 400, sentinels, 0, Random(1))
        ((start, end),) = made.silent
        learnt = made.ids[end:-1]
        assert made.ids[start] == sentinels.modes[denoiser.mode]
        assert made.ids[end - 1] == sentinels.target
        assert sum(n not in sentinels.marks for n in learnt) == round(400 * denoiser.rate)
        spans = sum(n in sentinels.marks for n in learnt)
        assert spans == (
            0 if denoiser.mode is Mode.S else round(400 * denoiser.rate / denoiser.mean)
        )


def test_a_prefix_is_read_and_its_continuation_learnt(vocabulary: Vocabulary) -> None:
    window = vocabulary.tokenizer.encode(CODE)
    made = continued(window, [7, 8], [0], Random(3))
    ((start, end),) = made.silent
    assert (start, end) == made.prefix
    assert 2 < end < len(made.ids)
    assert made.ids == [7, 8, *window, 0]


def test_a_vocabulary_without_spare_tokens_is_refused_by_the_option(vocabulary: Vocabulary) -> None:
    assert vocabulary.tokenizer.token_id(SPARE[-1]) is not None
    bare = vocabulary.tokenizer._plain.to_str().replace("spare", "other")
    with pytest.raises(ConfigError, match=r"data\.ul2_rate"):
        Sentinels.bind(Tokenizer(bare), "data.ul2_rate")


def _recipe(
    vocabulary: Vocabulary, rates: Rates, *, whole: bool = False, room: int = 129
) -> Recipe:
    return Recipe(
        vocabulary, _fim(vocabulary), _infilling(vocabulary, 0.5, "line"), rates, room, 5,
        _sentinels(vocabulary), whole,
    )  # fmt: skip


def _examples(recipe: Recipe, documents: list[list[int]], path: str) -> list[list[Example]]:
    """The examples of each document, window by window, in pass 3."""
    header = recipe.header(path)
    made, number = list[list[Example]](), 0
    for at_document, ids in enumerate(documents):
        windows = [ids[at : at + recipe.window] for at in range(0, len(ids), recipe.window)]
        count = len(windows)
        columns = Pieces(
            np.arange(number, number + count), np.full(count, at_document),
            np.array([len(w) for w in windows]), np.full(count, len(ids)), np.arange(count),
            np.full(count, count), np.full(count, len(header)),
        )  # fmt: skip
        plan = recipe.plan(np.full(count, 3), columns)
        row = []
        for at, window in enumerate(windows):
            key = at_document if plan.whole[at] else number + at
            material = Material(window, header, "python", at + 1 == count, at, count, ids)
            example = recipe.example(3, key, plan, at, material)
            assert len(example.ids) <= plan.room[at] <= recipe.room
            row.append(example)
        made.append(row)
        number += count
    return made


RATES = st.sampled_from(
    [Rates(), Rates(fim=1.0), Rates(0.0, 1.0), Rates(0.0, 0.0, 1.0), Rates(0.3, 0.3, 0.3, 1.0)]
)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), RATES, st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_examples_of_a_document_hold_all_of_it_and_fit(
    vocabulary: Vocabulary, repeats: list[int], rates: Rates, whole: bool
) -> None:
    recipe = _recipe(vocabulary, rates, whole=whole)
    documents = [vocabulary.tokenizer.encode(CODE * n) for n in repeats]
    for ids, examples in zip(documents, _examples(recipe, documents, "src/a.py"), strict=True):
        parts = [example.ids for example in examples]
        holes = sum(part.count(_fim(vocabulary).ids["<fim_middle>"]) for part in parts)
        if whole and holes == 1:
            parts = [[i for part in parts for i in part]]
        assert vocabulary.raw(ids) == b"".join(_raw(vocabulary, part) for part in parts)


def test_at_document_level_a_hole_spans_windows(vocabulary: Vocabulary) -> None:
    fim = _fim(vocabulary).ids
    long = vocabulary.tokenizer.encode(CODE * 8)
    for whole in (False, True):
        recipe = _recipe(vocabulary, Rates(fim=1.0, header=0.0), whole=whole)
        ((*examples,),) = _examples(recipe, [long], "a.py")
        assert len(examples) > 2
        marks = sum(example.ids.count(fim["<fim_middle>"]) for example in examples)
        assert marks == (1 if whole else len(examples))


def test_rates_are_kept_over_many_windows(vocabulary: Vocabulary) -> None:
    recipe = _recipe(vocabulary, Rates(0.4, 0.2, 0.1), room=1025)
    count = 20_000
    ones, numbers = np.ones(count, dtype=np.int64), np.arange(count)
    columns = Pieces(numbers, numbers, ones * 300, ones * 300, ones * 0, ones, ones * 9)
    plan = recipe.plan(ones, columns)
    for kind, rate in ((Kind.FIM, 0.4), (Kind.UL2, 0.2), (Kind.PREFIX, 0.1)):
        assert abs((plan.kind == kind).mean() - rate) < 0.01
    assert abs(plan.header.mean() - 0.5) < 0.01
    again = recipe.plan(ones * 2, columns)
    assert (again.kind == plan.kind).mean() == pytest.approx(0.3, abs=0.02)  # as by chance


def test_draws_are_the_same_on_every_machine() -> None:
    assert drawn(1, np.arange(2)).tolist() == [6791897765849424158, 9716232063330790915]
    assert share(drawn(0, np.arange(10_000))).mean() == pytest.approx(0.5, abs=0.02)
    assert sorted(shuffled(100, 1).tolist()) == list(range(100))
    assert shuffled(100, 1).tolist() != shuffled(100, 2).tolist()
