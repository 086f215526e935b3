"""Every store of flags and events keeps the same promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ab.errors import InvalidFlag, StaleRevision
from ab.events import Event, Kind
from ab.flags import Arm, Flag, Rollout, Slot
from ab.rollup import Cell, Counts, counted
from ab.store import Decision, Store
from ab.stores.registry import open_store
from tests.fakes.redis_server import redis_server

Opener = Callable[[], Store]
NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY_S = 86_400.0


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs("redis"))])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store again and again; closes all of them at the end."""
    stores: list[Store] = []

    def opener(address: str) -> Opener:
        def run() -> Store:
            stores.append(open_store(address))
            return stores[-1]

        return run

    if request.param == "sqlite":
        yield opener(str(tmp_path / "ab.sqlite"))
    else:
        with redis_server(tmp_path) as address:
            yield opener(address)
    for store in stores:
        store.close()


def flag(key: str = "model", **parts: object) -> Flag:
    return Flag(**{"key": key, "variants": {"a": 1, "b": 2}, "default_variant": "a"} | parts)  # type: ignore[arg-type]


def test_a_flag_comes_back_as_it_was_written(opened: Opener) -> None:
    store = opened()
    one = flag(
        overrides={"ada": "b"},
        slot=Slot("l", 1, 9),
        targeting={"if": [{"==": [{"var": "language"}, "go"]}, "a"]},
        rollout=Rollout(5_000, (Arm("a", 1), Arm("b", 2)), "salt"),
        description="new modèle",
    )
    written = store.put(one, 0, NOON, "ada", "because")
    assert opened().flags() == {"model": written}
    assert (written.flag, written.revision) == (one, 1)


def test_a_stale_revision_is_refused_and_changes_nothing(opened: Opener) -> None:
    store = opened()
    store.put(flag(), 0, NOON, "ada", "")
    store.put(flag(enabled=False), 1, NOON, "bob", "")
    for expected in (0, 1, 3):
        with pytest.raises(StaleRevision, match="it is 2 by now"):
            store.put(flag(), expected, NOON, "ada", "")
    assert store.flags()["model"].flag.enabled is False
    assert store.stamp() == 2


def test_of_writers_at_the_same_revision_one_wins(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    stores[0].put(flag(), 0, NOON, "ada", "")

    def write(store: Store) -> bool:
        try:
            store.put(flag(enabled=False), 1, NOON, "ada", "")
        except StaleRevision:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(write, stores)) == [False, False, False, True]


def test_history_says_who_when_and_why(opened: Opener) -> None:
    store = opened()
    store.put(flag(), 0, NOON, "ada", "start")
    store.put(flag("other"), 0, NOON, "eve", "")
    store.put(flag(enabled=False), 1, NOON + 60, "bob", "it is slow")
    rows = [(v.revision, v.at, v.who, v.why, v.flag.enabled) for v in store.history("model")]
    assert rows == [(1, NOON, "ada", "start", True), (2, NOON + 60, "bob", "it is slow", False)]
    assert store.history("nothing") == []


def test_slots_may_not_overlap_across_flags(opened: Opener) -> None:
    store = opened()
    store.put(flag("one", slot=Slot("l", 0, 50)), 0, NOON, "ada", "")
    with pytest.raises(InvalidFlag, match="overlap"):
        store.put(flag("two", slot=Slot("l", 49, 60)), 0, NOON, "ada", "")
    assert list(store.flags()) == ["one"]


def test_the_stamp_grows_with_each_write_anywhere(opened: Opener) -> None:
    one, other = opened(), opened()
    before = one.stamp()
    other.put(flag(), 0, NOON, "ada", "")
    assert one.stamp() > before


def event(number: int, kind: Kind, suggestion: str = "s1", **parts: object) -> Event:
    known = {"user": "ada", "variant": "m1", "language": "python", "editor": "native"}
    return replace(Event(f"e{number}", kind, NOON + number, suggestion, **known), **parts)  # type: ignore[arg-type]


LIFE = [
    event(1, Kind.REQUESTED, total_ms=81.5),
    event(2, Kind.SHOWN),
    event(3, Kind.ACCEPTED, chars=5),
    event(4, Kind.ACCEPTED, chars=14),
    event(5, Kind.RETAINED, after_s=30.0, retained_share=1.0),
    # Ten minutes later it is tomorrow, and the gateway that is told knows nothing of it.
    event(6, Kind.RETAINED, at=NOON + DAY_S, user="", variant="", language="", editor="",
          after_s=600.0, retained_share=0.25),
    event(7, Kind.REQUESTED, "s2"),
    event(8, Kind.SHOWN, "s2"),
    event(9, Kind.DISMISSED, "s2", explicit=True),
    event(10, Kind.REQUESTED, "s3", user="bob", at=NOON - DAY_S),
    event(11, Kind.RETURNED_EMPTY, "s3", user="bob", at=NOON - DAY_S),
]  # fmt: skip
TOTALS = {
    Cell("2026-11-21", "ada", "m1", "python", "native"): Counts(
        requested=2, shown=2, accepted=1, chars=19, dismissed=1, explicit=1, total_us=81_500,
        timed=1, known_30=1, kept_30=1000, known_600=1, kept_600=250, dwell_known=1, dwelt=1,
        within_100=1,
    ),
    Cell("2026-11-20", "bob", "m1", "python", "native"): Counts(requested=1, empty=1),
}  # fmt: skip


def totals(store: Store) -> dict[Cell, Counts]:
    return {cell: counts for cell, counts in store.cells() if any(counts)}


def test_events_are_counted_by_suggestion_where_they_belong(opened: Opener) -> None:
    store = opened()
    assert store.append(LIFE) == len(LIFE)
    assert totals(store) == TOTALS


@pytest.mark.parametrize("seed", range(6))
def test_order_repetition_and_batches_change_nothing(opened: Opener, seed: int) -> None:
    chance = random.Random(seed)
    events = [*LIFE, *chance.sample(LIFE, 6)]
    chance.shuffle(events)
    store = opened()
    kept = 0
    while events:
        size = chance.randint(1, 5)
        kept += store.append(events[:size])
        events = events[size:]
    assert kept == len(LIFE)
    assert totals(opened()) == TOTALS


def test_several_writers_count_each_event_once(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    batches = [LIFE[start : start + 6] for start in (0, 2, 5, 0)]
    with ThreadPoolExecutor(4) as pool:
        kept = sum(
            pool.map(lambda pair: pair[0].append(pair[1]), zip(stores, batches, strict=True))
        )
    assert kept == len(LIFE)
    assert totals(stores[0]) == TOTALS


def test_what_is_enqueued_counts_once_however_many_count_it(opened: Opener) -> None:
    stores = [opened() for _ in range(3)]
    for start in range(0, len(LIFE), 2):
        stores[0].enqueue(LIFE[start : start + 3])

    def work(store: Store) -> None:
        while store.count(str(id(store))):
            pass

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, stores))
    assert totals(stores[0]) == TOTALS
    assert sorted(stores[1].events(), key=lambda e: e.id) == sorted(LIFE, key=lambda e: e.id)


def test_what_gateways_can_obey_is_known_while_they_live(opened: Opener) -> None:
    store = opened()
    store.announce("g1", {"model": ["m1"]}, NOON)
    store.announce("g2", {"model": ["m1", "m2"], "speculate": [True, False]}, NOON + 1)
    store.announce("g1", {"model": ["m3"]}, NOON + 2)
    both = {"g1": {"model": ["m3"]}, "g2": {"model": ["m1", "m2"], "speculate": [True, False]}}
    assert opened().gateways(NOON) == both
    assert list(store.gateways(NOON + 1.5)) == ["g1"]
    store.announce("g3", {}, NOON + 60)
    assert list(store.gateways(NOON)) == ["g3"], "who is gone is forgotten"


def test_nothing_is_counted_for_no_events(opened: Opener) -> None:
    assert opened().append([]) == 0
    assert counted([]) is None


def test_purging_a_user_erases_them_and_nobody_else(opened: Opener) -> None:
    store = opened()
    store.append(LIFE)
    assert store.purge("ada") == 2
    assert {cell.user for cell, _ in store.cells()} == {"bob"}
    assert store.purge("ada") == 0
    assert store.append(LIFE[-2:]) == 0
    assert store.append(LIFE[:1]) == 1, "the events themselves are gone, too"
    store.enqueue(LIFE[:6])
    assert store.purge("ada") == 1, "nor does it wait anywhere"
    assert {cell.user for cell, _ in store.cells()} == {"bob"}


def decision(name: str, flag_key: str = "model", verdict: str = "HOLD") -> Decision:
    return Decision(name, flag_key, "new", NOON, "ada", "why", verdict, '{"a": 0.1}')


def test_decisions_come_back_in_order_each_once(opened: Opener) -> None:
    store = opened()
    assert store.decisions() == []
    for name in ("d2", "d1", "d2"):
        store.record(decision(name))
    store.record(decision("d3", "other", "PROMOTE"))
    store.record(decision("d1", verdict="ROLL_BACK"))
    assert opened().decisions("model") == [decision("d2"), decision("d1")]
    assert [found.id for found in store.decisions()] == ["d2", "d1", "d3"]
