"""The gate: as many as there are slots, turns in a short line, and Busy at once behind it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from server.admission import Admission
from server.caller import Caller
from server.choices import derived_seed, spread
from server.rates import Rate
from tabwright.errors import EngineOverloaded, RateLimited
from tabwright.request import CompletionRequest, SamplingParams

pytestmark = pytest.mark.anyio


async def test_a_full_line_is_said_at_once() -> None:
    gate = Admission(max_running=1, max_waiting=1)

    async def hold() -> None:
        async with gate.permit():
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        tasks.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        assert (gate.running, gate.waiting) == (1, 1)
        with pytest.raises(EngineOverloaded):
            async with gate.permit():
                pass
        tasks.cancel_scope.cancel()
    assert (gate.running, gate.waiting) == (0, 0)


async def test_who_leaves_the_line_takes_no_slot_along() -> None:
    gate = Admission(max_running=1, max_waiting=4)
    order: list[str] = []

    async def go(name: str) -> None:
        async with gate.permit():
            order.append(name)

    async with anyio.create_task_group() as tasks, gate.permit():
        with anyio.move_on_after(0.01):
            await go("left")
        tasks.start_soon(go, "first")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(go, "second")
        await anyio.wait_all_tasks_blocked()
    assert order == ["first", "second"]
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_patient_choice_waits_although_the_line_is_full() -> None:
    gate = Admission(max_running=1, max_waiting=0)
    async with anyio.create_task_group() as tasks:
        async with gate.permit():
            done = anyio.Event()

            async def patient() -> None:
                async with gate.permit(patient=True):
                    done.set()

            tasks.start_soon(patient)
            await anyio.wait_all_tasks_blocked()
        await done.wait()


async def settle() -> None:
    """Let every task do what it can; anyio's own way sleeps a tenth of a second."""
    for _ in range(6):
        await checkpoint()


@dataclass
class Work:
    """Requests that hold a slot until they are let go, in the order in which they got it."""

    gate: Admission
    tasks: TaskGroup
    got: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _ends: list[anyio.Event] = field(default_factory=list)

    async def ask(self, *users: str) -> None:
        for user in users:
            self.tasks.start_soon(self._one, user)
            await settle()

    async def let_go(self, place: int) -> None:
        """End the request that was number `place` to get a slot."""
        self._ends[place].set()
        await settle()

    async def _one(self, user: str) -> None:
        try:
            async with self.gate.permit(Caller(user=user)):
                end = anyio.Event()
                self.got.append(user)
                self._ends.append(end)
                await end.wait()
        except EngineOverloaded:
            self.refused.append(user)


async def test_one_who_asks_for_much_delays_another_by_one_slot() -> None:
    gate = Admission(max_running=4, max_waiting=64)
    async with anyio.create_task_group() as tasks:
        work = Work(gate, tasks)
        await work.ask(*["greedy"] * 64, "modest")
        assert (gate.running, gate.waiting) == (4, 61)
        await work.let_go(2)
        assert work.got == ["greedy"] * 4 + ["modest"]
        tasks.cancel_scope.cancel()


async def test_with_one_slot_callers_take_turns() -> None:
    gate = Admission(max_running=1, max_waiting=64)
    async with anyio.create_task_group() as tasks:
        work = Work(gate, tasks)
        await work.ask("a", "a", "a", "b", "b", "c")
        for place in range(5):
            await work.let_go(place)
        assert work.got == ["a", "b", "c", "a", "b", "a"]
        await work.let_go(5)
        assert gate.idle


async def test_newcomers_do_not_keep_a_waiting_caller_out_for_ever() -> None:
    gate = Admission(max_running=2, max_waiting=64)
    async with anyio.create_task_group() as tasks:
        work = Work(gate, tasks)
        await work.ask("a", "b", "a", "x0")
        for number in range(20):
            await work.ask(f"x{number + 1}")  # somebody without a slot is always waiting
            await work.let_go(number)
        assert work.got.count("a") == 2
        tasks.cancel_scope.cancel()


async def test_a_full_line_makes_room_for_who_has_fewest_in_it() -> None:
    gate = Admission(max_running=1, max_waiting=4)
    async with anyio.create_task_group() as tasks:
        work = Work(gate, tasks)
        await work.ask(*["greedy"] * 5, "modest")
        assert work.refused == ["greedy"]
        assert gate.waiting == 4
        await work.ask("greedy")
        assert work.refused == ["greedy"] * 2
        await work.ask("modest", "modest")
        assert work.refused == ["greedy"] * 3 + ["modest"]
        await work.let_go(0)
        assert work.got == ["greedy", "modest"]
        tasks.cancel_scope.cancel()
    assert gate.idle


@given(
    st.integers(1, 4),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from("abc+-x"), st.integers(0, 9)), max_size=60),
)
@settings(deadline=None)
async def test_however_requests_come_end_and_leave_the_count_is_right(
    slots: int, places: int, steps: list[tuple[str, int]]
) -> None:
    """`+`: one that holds a slot ends; `-`: one is cancelled, wherever it is; `x`: both at once."""
    gate = Admission(slots, places)
    inside: dict[int, tuple[anyio.Event, anyio.CancelScope]] = {}
    holding: list[int] = []

    async def request(number: int, user: str) -> None:
        end = anyio.Event()
        with anyio.CancelScope() as scope:
            inside[number] = (end, scope)
            try:
                async with gate.permit(Caller(user=user)):
                    holding.append(number)
                    try:
                        await end.wait()
                    finally:
                        holding.remove(number)
            except EngineOverloaded:
                pass
        del inside[number]

    async with anyio.create_task_group() as tasks:
        for number, (step, which) in enumerate(steps):
            if step in "abc":
                tasks.start_soon(request, number, step)
            if step in "+x" and holding:
                inside[holding[which % len(holding)]][0].set()
            if step in "-x" and inside:
                list(inside.values())[which % len(inside)][1].cancel()
            if which % 3:  # else the next step comes before anybody could react
                await settle()
                assert len(holding) == gate.running <= slots
                assert len(inside) == gate.running + gate.waiting
                assert gate.waiting <= places
                assert not gate.waiting or gate.running == slots
        await settle()
        for end, _ in list(inside.values()):
            end.set()
    assert gate.idle
    assert gate._line == gate._held == {}


@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(1, 3))
@settings(deadline=None)
async def test_no_share_gets_two_turns_more_than_another_that_waits(
    demands: list[int], slots: int
) -> None:
    gate = Admission(slots, 64)
    async with anyio.create_task_group() as tasks:
        work = Work(gate, tasks)
        for user, demand in enumerate(demands):
            await work.ask(*[str(user)] * demand)
        for place in range(sum(demands)):
            await work.let_go(place)
    turns = work.got[slots:]  # before, some had come and others had not
    for user, demand in enumerate(demands):
        served = [place for place, name in enumerate(turns) if name == str(user)]
        for earlier, later in pairwise([-1, *served]):
            between = turns[earlier + 1 : later]
            most = max((between.count(other) for other in between), default=0)
            assert most <= 2 + slots // 2, (user, demand, turns)


async def test_a_storm_of_cancellations_leaks_no_slot() -> None:
    gate = Admission(max_running=3, max_waiting=500)
    chance = random.Random(5)

    async def request(user: str) -> None:
        with anyio.move_on_after(chance.random() * 0.02):
            async with gate.permit(Caller(user=user)):
                await anyio.sleep(chance.random() * 0.004)

    async with anyio.create_task_group() as tasks:
        for number in range(400):
            tasks.start_soon(request, f"u{number % 7}")
    assert gate.idle
    assert gate._line == gate._held == {}


async def test_who_leaves_the_line_has_its_rate_back_and_who_ran_has_not() -> None:
    gate = Admission(1, 8, Rate(per_s=0.01, burst=2))
    mine = Caller(user="me")
    async with gate.permit(Caller(user="other")):
        for _ in range(5):
            with anyio.move_on_after(0.01):
                async with gate.permit(mine):
                    pytest.fail("there was no slot")
    for _ in range(2):
        async with gate.permit(mine):
            pass
    with pytest.raises(RateLimited) as refused:
        async with gate.permit(mine):
            pass
    assert 99 < refused.value.retry_after_s <= 100
    async with gate.permit(mine, paid=True):
        pass


async def test_a_keys_limit_is_for_all_its_people_together() -> None:
    gate = Admission(8, 8, Rate(per_s=0.01, burst=2))
    rate = Rate(per_s=0.01, burst=3)
    for user in ("a", "b", "c"):
        async with gate.permit(Caller(key="k", user=user, rate=rate)):
            pass
    with pytest.raises(RateLimited):
        async with gate.permit(Caller(key="k", user="d", rate=rate)):
            pass
    async with gate.permit(Caller(key="other", user="d", rate=rate)):
        pass


async def test_choices_have_seeds_of_their_own_and_greedy_ones_are_made_once() -> None:
    sampled = CompletionRequest("a", sampling=SamplingParams(temperature=1, seed=7))
    seeds = [choice.request.sampling.seed for choice in spread([sampled, sampled], 3)]
    assert seeds[0] == 7
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3
    greedy = CompletionRequest("a", sampling=SamplingParams(temperature=0, seed=7))
    assert [choice.indices for choice in spread([greedy, greedy], 3)] == [(0, 1, 2), (3, 4, 5)]


async def test_without_a_seed_no_choice_gets_one() -> None:
    assert derived_seed(None, 5) is None
    assert derived_seed(5, 2) == derived_seed(5, 2)
    assert 0 <= (derived_seed(5, 2) or -1) < 2**63
