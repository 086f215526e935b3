"""Are rows a function of the seed and their number, well filled, and shared out as configured?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabwright.errors import ConfigError
from tests.fakes.tiny_shards import write_tiny_shards
from training.config import DataSection, MixtureChange
from training.consumed import Consumed
from training.data.shards import HELD_OUT, TRAIN
from training.fitting import fitted
from training.loader import IGNORE, Ahead, Loader
from training.order import Group, Order, Shares, Stream
from training.reading import open_loader

ROOM = 129


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("data") / "shards")


def _data(**changes: object) -> DataSection:
    plain = {"context": 128, "batch_rows": 4, "micro_rows": 4, "seed": 3}
    return DataSection.model_validate(plain | changes)


@given(st.lists(st.integers(1, 60), max_size=200))
@settings(max_examples=100, deadline=None)
def test_packing_places_each_size_once_and_overfills_nothing(sizes: list[int]) -> None:
    rows = fitted(sizes, 60)
    assert sorted(place for row in rows for place in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[place] for place in row) <= 60 for row in rows)
    # Any two rows together hold more than one has room for, else they would be one.
    filled = sorted(sum(sizes[place] for place in row) for row in rows)
    assert len(filled) < 2 or filled[0] + filled[1] > 60


def _stream(name: str, sizes: list[int], **changes: int) -> Stream:
    known = np.array(sizes, dtype=np.int64)
    group = Group(name, np.arange(len(sizes)), 1 + int(known.sum()) // ROOM)
    plain = {"room": ROOM, "seed": 1, "block": 64} | changes
    return Stream(group, lambda passes, windows: known[windows] + 0 * passes, **plain)


SIZES = np.random.default_rng(0).integers(5, ROOM, 5_000).tolist()


def test_a_lap_reads_every_window_once_and_the_next_in_another_order() -> None:
    stream = _stream("a", SIZES)
    rows = stream.lap_rows()
    laps = [[stream.row(n) for n in range(lap * rows, (lap + 1) * rows)] for lap in range(2)]
    read = [[w for row in lap for w in row.windows.tolist()] for lap in laps]
    assert sorted(read[0]) == list(range(len(SIZES)))
    assert read[0] != read[1]
    assert {int(p) for row in laps[0] for p in row.passes} == {0}


def test_rows_are_the_same_in_whatever_order_they_are_asked_for() -> None:
    there, back = _stream("a", SIZES), _stream("a", SIZES)
    numbers = [0, 1, 700, 5_000, 4_999, 2, 700]
    told = {n: there.row(n).windows.tolist() for n in numbers}
    for number in reversed(numbers):
        assert back.row(number).windows.tolist() == told[number]
    assert _stream("a", SIZES, seed=2).row(0).windows.tolist() != told[0]


def test_a_source_smaller_than_its_rows_is_read_several_times_in_a_lap() -> None:
    row = _stream("a", [10]).row(0)
    assert len(row.windows) == ROOM // 10
    assert len(set(row.passes.tolist())) == ROOM // 10


def test_packing_wastes_less_than_two_percent_of_code_like_sizes() -> None:
    rng = np.random.default_rng(4)
    sizes = np.minimum(np.exp(rng.normal(5.6, 1.1, 20_000)).astype(int) + 8, 1025).tolist()
    rows = fitted(sizes, 1025)
    assert 1 - sum(sizes) / (len(rows) * 1025) < 0.02


@given(st.lists(st.floats(0, 5), min_size=2, max_size=4).filter(lambda w: sum(w) > 0.1))
@settings(max_examples=20, deadline=None)
def test_shares_are_kept_in_any_stretch_of_rows(weights: list[float]) -> None:
    names = [f"source {n}" for n in range(len(weights))]
    order = Order({name: _stream(name, [ROOM] * 50) for name in names},
                  [Shares(0, dict(zip(names, weights, strict=True)))])  # fmt: skip
    for first in (0, 777):
        read = Counter(order.row(n).group for n in range(first, first + 200))
        for name, weight in zip(names, weights, strict=True):
            assert abs(read[name] - 200 * weight / sum(weights)) < 8


def test_shares_change_at_their_row_and_each_source_goes_on_where_it_was() -> None:
    streams = {name: _stream(name, [ROOM] * 500) for name in ("a", "b")}
    order = Order(streams, [Shares(0, {"a": 1, "b": 1}), Shares(1000, {"a": 1, "b": 0})])
    rows = [order.row(n) for n in range(1100)]
    assert {row.group for row in rows[1000:]} == {"a"}
    own = _stream("a", [ROOM] * 500)
    of_a = [row.windows.tolist() for row in rows if row.group == "a"]
    assert of_a == [own.row(n).windows.tolist() for n in range(len(of_a))]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_world_size_reads_the_same_batches(shards: Path, world: int) -> None:
    whole = open_loader(_data(), shards, TRAIN)
    parts = [open_loader(_data(), shards, TRAIN) for _ in range(world)]
    for step in (0, 5, 2):
        batch = whole.batch(step, 4)
        for rank, loader in enumerate(parts):
            mine = loader.batch(step, 4, rank, world)
            assert np.array_equal(batch.inputs_BT[rank::world], mine.inputs_BT)
            assert np.array_equal(batch.targets_BT[rank::world], mine.targets_BT)
            assert np.array_equal(batch.documents_BT[rank::world], mine.documents_BT)
            assert batch.samples[rank::world] == mine.samples


def test_batches_made_ahead_are_the_same_whatever_is_asked_for(shards: Path) -> None:
    plain = open_loader(_data(), shards, TRAIN)
    with Ahead(open_loader(_data(), shards, TRAIN)) as ahead:
        for step in (0, 1, 2, 3, 9, 10, 1, 2):
            assert np.array_equal(ahead.batch(step, 4).inputs_BT, plain.batch(step, 4).inputs_BT)


def test_what_fails_in_the_thread_is_raised_where_the_batch_is_asked_for(shards: Path) -> None:
    loader = open_loader(_data(), shards, TRAIN)

    class Broken(Loader):
        def batch(self, *_: object) -> None:  # type: ignore[override]
            raise OSError("the disk is gone")

    loader.__class__ = Broken
    with Ahead(loader) as ahead, pytest.raises(OSError, match="the disk is gone"):
        ahead.batch(0, 4)


def test_silenced_samples_keep_their_places_and_carry_no_loss(shards: Path) -> None:
    with Ahead(open_loader(_data(), shards, TRAIN)) as ahead:
        before = ahead.batch(0, 4)
        ahead.silence(before.samples[1])
        after = ahead.batch(0, 4)
    assert np.array_equal(before.inputs_BT, after.inputs_BT)
    assert before.samples == after.samples
    assert (after.targets_BT[1] == IGNORE).all()
    assert np.array_equal(before.targets_BT[0], after.targets_BT[0])


def test_no_loss_crosses_from_one_document_into_the_next(shards: Path) -> None:
    rows = open_loader(_data(header_rate=0.0, fim_rate=0.0), shards, TRAIN).batch(0, 16)
    first = rows.documents_BT[:, :-1] != rows.documents_BT[:, 1:]
    assert first.any()
    assert (rows.targets_BT[:, :-1][first] == IGNORE).all()
    same = (rows.documents_BT[:, :-1] == rows.documents_BT[:, 1:]) & (rows.documents_BT[:, 1:] >= 0)
    assert np.array_equal(rows.targets_BT[:, :-1][same], rows.inputs_BT[:, 1:][same])


def test_prefixes_are_marked_and_not_learnt(shards: Path) -> None:
    rows = open_loader(_data(fim_rate=0.0, prefix_rate=1.0), shards, TRAIN).batch(0, 8)
    inner = rows.prefixes_BT[:, 1:]
    assert 0.2 < inner.mean() < 0.8
    assert (rows.targets_BT[:, :-1][inner] == IGNORE).all()


def test_the_digest_of_what_was_read_is_the_same_for_any_ranks_and_tells_a_swap() -> None:
    rows = [(number, [f"id{number}:0", "x:3"]) for number in range(32)]

    def digest(world: int, given: list[tuple[int, list[str]]]) -> str:
        ranks = [Consumed() for _ in range(world)]
        for half in (given[:20], given[20:]):
            for rank, consumed in enumerate(ranks):
                mine = half[rank::world]
                consumed.add([n for n, _ in mine], [s for _, s in mine])
            lanes = [sum(c.lanes[lane] for c in ranks) for lane in range(2)]
            for consumed in ranks:
                consumed.gather(lanes)
        (told,) = {consumed.digest() for consumed in ranks}
        return told

    assert digest(1, rows) == digest(2, rows) == digest(4, rows)
    assert digest(1, rows[:-1]) != digest(1, rows)
    swapped = [(rows[0][0], rows[1][1]), (rows[1][0], rows[0][1]), *rows[2:]]
    assert digest(1, swapped) != digest(1, rows)
    resumed = Consumed(digest(1, rows[:20]))
    resumed.add([n for n, _ in rows[20:]], [s for _, s in rows[20:]])
    resumed.gather(resumed.lanes)
    assert resumed.digest() == digest(2, rows)


def test_a_mixture_gives_sources_their_share_of_rows(shards: Path) -> None:
    data = _data(
        mixture={"one": 3.0, "two": 1.0},
        mixture_changes=(MixtureChange(from_step=50, shares={"one": 0.0, "two": 1.0}),),
    )
    loader = open_loader(data, shards, TRAIN)
    sources = {f"{n:032x}": ("one", "two")[n % 2] for n in range(40)}

    def read(steps: range) -> Counter[str]:
        names = [s for step in steps for n in range(4 * step, 4 * step + 4) for s in {
            sources[sample.partition(":")[0]] for sample in loader.samples(n)}]  # fmt: skip
        return Counter(names)

    before = read(range(50))
    assert before["one"] == pytest.approx(150, abs=3)
    assert before["two"] == pytest.approx(50, abs=3)
    assert read(range(50, 60)) == {"two": 40}


def test_a_mixture_must_name_every_source(shards: Path) -> None:
    with pytest.raises(ConfigError, match="one, two"):
        open_loader(_data(mixture={"one": 1.0}), shards, TRAIN)
    assert open_loader(_data(mixture={"one": 1.0}), shards, HELD_OUT).batch(0, 4).samples


def _chats(path: Path) -> Path:
    lines: list[object] = [
        {"instruction": f"Add {n}", "input": "x = 1" if n % 2 else "", "output": f"x + {n}"}
        for n in range(60)
    ]
    said = [("system", "Be brief."), ("user", "hi"), ("assistant", "hello"), ("user", "thanks")]
    lines += [{"messages": [{"role": role, "content": text} for role, text in said]}]
    lines += [{"instruction": "too long", "output": "x = 1\n" * 500}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def test_conversations_are_read_whole_and_only_answers_are_learnt(
    shards: Path, tmp_path: Path
) -> None:
    mixture = {"one": 0.0, "two": 0.0, "instructions": 1.0}
    data = _data(instructions=[_chats(tmp_path / "chat.jsonl")], mixture=mixture)
    rows = open_loader(data, shards, TRAIN).batch(0, 40)
    from tabwright.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(shards / "tokenizer.json")
    answers = set()
    for inputs, targets, documents in zip(
        rows.inputs_BT, rows.targets_BT, rows.documents_BT, strict=True
    ):
        for document in range(documents.max() + 1):
            learnt = targets[(documents == document) & (targets != IGNORE)]
            answers.add(tokenizer.decode(learnt.tolist()))
            assert "Add" in tokenizer.decode(inputs[documents == document].tolist()) or (
                "hello" in answers
            )
    assert "hello" in answers
    assert {f"x + {n}" for n in (3, 4)} & answers
    assert not any("Add" in answer or "thanks" in answer for answer in answers)


@pytest.mark.parametrize("line", ['{"instruction": 1}', "nonsense", '{"messages": []}', "[]"])
def test_a_line_that_is_no_conversation_is_named(shards: Path, tmp_path: Path, line: str) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=r"chat\.jsonl: line 2"):
        open_loader(_data(instructions=[file]), shards, TRAIN)
