"""Slots, blocks and the waiting line never promise more than there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.line import Line, State, Ticket, blocks_for
from tabwright.errors import EngineOverloaded
from tabwright.request import SamplingParams

SLOTS, PLACES, BLOCKS = 3, 4, 20


def ticket(tokens: int) -> Ticket:
    return Ticket((1,) * tokens, SamplingParams(), 1)


def make_line(started: list[Ticket]) -> Line:
    line = Line(slots=SLOTS, waiting=PLACES, blocks=BLOCKS, start=started.append)
    line.open = True
    return line


def check(line: Line) -> None:
    assert line.blocks_used == sum(t.blocks for t in line.running.values()) <= BLOCKS
    assert len(line.running) <= SLOTS
    assert len(line.waiting) <= PLACES
    assert all(t.state is State.RUNNING for t in line.running.values())
    assert all(t.state is State.WAITING for t in line.waiting)
    if line.waiting:
        head = line.waiting[0]
        fits = len(line.running) < SLOTS and line.blocks_used + head.blocks <= BLOCKS
        assert not fits, "the first in line waits although it could run"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 500))))
def test_whatever_joins_and_leaves_the_books_are_right(moves: list[tuple[int, int]]) -> None:
    started: list[Ticket] = []
    joined: list[Ticket] = []
    line = make_line(started)
    for kind, number in moves:
        if kind and joined:
            line.leave(joined[number % len(joined)])
        else:
            new = ticket(number)
            try:
                line.join(new)
                joined.append(new)
            except EngineOverloaded:
                assert len(line.waiting) == PLACES
        check(line)
    assert [t.number for t in started] == sorted(t.number for t in started), "not in turn"
    for one in joined:
        line.leave(one)
        check(line)
    assert line.blocks_used == 0
    assert not line.running
    assert not line.waiting


def test_a_large_request_holds_back_the_small_ones_behind_it() -> None:
    line = make_line([])
    first, large, small = ticket(300), ticket(500), ticket(5)
    for one in (first, large, small):
        line.join(one)
    assert [t.state for t in (first, large, small)] == [
        State.RUNNING,
        State.WAITING,
        State.WAITING,
    ]
    line.leave(first)
    assert large.state is small.state is State.RUNNING


def test_nobody_starts_while_the_line_is_closed() -> None:
    started: list[Ticket] = []
    line = make_line(started)
    line.open = False
    line.join(ticket(5))
    assert not started
    line.open = True
    line.advance()
    assert len(started) == 1


def test_leaving_twice_frees_once() -> None:
    line = make_line([])
    one, other = ticket(5), ticket(5)
    line.join(one)
    line.join(other)
    line.leave(one)
    line.leave(one)
    assert line.blocks_used == other.blocks


def test_without_places_a_request_runs_or_is_refused() -> None:
    line = Line(slots=1, waiting=0, blocks=BLOCKS, start=lambda _: None)
    line.open = True
    line.join(ticket(5))
    with pytest.raises(EngineOverloaded):
        line.join(ticket(5))


@pytest.mark.parametrize(("tokens", "blocks"), [(1, 2), (32, 2), (33, 3), (1024, 33)])
def test_blocks_are_rounded_up_and_have_one_to_spare(tokens: int, blocks: int) -> None:
    assert blocks_for(tokens) == blocks
