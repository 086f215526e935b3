"""Events wait in a bounded queue, and reach a store that may be away, all of them and in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import pytest

from server.telemetry import EventKind, EventQueue, EventsFull, Suggested, SuggestionEvent

pytestmark = pytest.mark.anyio


def an_event(number: int) -> SuggestionEvent:
    return SuggestionEvent(str(number), EventKind.SHOWN, 0.0, Suggested("sug-1"))


class Shelf:
    """A store that can be taken away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.tried = 0
        self.closed = False
        self.kept: list[str] = []

    def append(self, events: Sequence[SuggestionEvent]) -> None:
        self.tried += 1
        if self.away:
            raise OSError(28, "No space left on device")
        self.kept += [event.id for event in events]

    def close(self) -> None:
        self.closed = True


async def until(done: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not done():  # noqa: ASYNC110  (a store works in a thread)
            await anyio.sleep(0.005)


async def test_what_was_recorded_is_stored_in_order_and_the_rest_at_the_end() -> None:
    queue, shelf = EventQueue(), Shelf()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.drain, shelf)
        assert queue.record(an_event(0))
        await until(lambda: shelf.kept)
        for number in range(1, 4):
            assert queue.record(an_event(number))
        tasks.cancel_scope.cancel()
    assert shelf.kept == ["0", "1", "2", "3"]
    assert shelf.closed


async def test_a_full_queue_says_so_at_once() -> None:
    queue, shelf = EventQueue(room=2), Shelf()
    assert [queue.record(an_event(number)) for number in range(3)] == [True, True, False]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.drain, shelf)
        await until(lambda: shelf.kept)
        assert queue.record(an_event(3))
        tasks.cancel_scope.cancel()
    assert shelf.kept == ["0", "1", "3"]


async def test_a_store_that_was_away_gets_everything_when_it_is_back() -> None:
    queue, shelf = EventQueue(), Shelf(away=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.drain, shelf)
        queue.record(an_event(0))
        await until(lambda: shelf.tried)
        queue.record(an_event(1))
        shelf.away = False
        await until(lambda: shelf.kept)
        tasks.cancel_scope.cancel()
    assert shelf.kept == ["0", "1"]


async def test_a_store_that_stays_away_is_tried_once_more_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, shelf = EventQueue(), Shelf(away=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.drain, shelf)
        queue.record(an_event(0))
        await until(lambda: shelf.tried)
        shelf.tried = 0
        tasks.cancel_scope.cancel()
    assert shelf.tried == 1
    assert shelf.closed
    assert [record.message for record in caplog.records][-1] == "events are lost"


async def test_who_reports_is_told_at_once_while_the_store_is_away() -> None:
    queue, shelf = EventQueue(), Shelf(away=True)
    refused: list[int] = []

    async def report(number: int) -> None:
        with pytest.raises(EventsFull, match="No space left"):
            await queue.keep([an_event(number)])
        refused.append(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.drain, shelf)
            async with anyio.create_task_group() as reports:
                for number in range(3):
                    reports.start_soon(report, number)
            await report(3)
            shelf.away = False
            await until(lambda: len(shelf.kept) == 3)
            await queue.keep([an_event(3)])
            tasks.cancel_scope.cancel()
    assert sorted(refused) == [0, 1, 2, 3]
    assert shelf.kept == ["0", "1", "2", "3"]
