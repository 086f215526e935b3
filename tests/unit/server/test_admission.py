"""The gate: as many as there are slots, a short line, and Busy at once behind it."""

from __future__ import annotations

import anyio
import pytest

from server.admission import Admission, Unauthorized, check_key
from server.choices import derived_seed, spread
from tabwright.errors import EngineOverloaded
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


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer no", "Basic key", "Bearer ké"])
async def test_a_wrong_key_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        check_key(header, "key")
    check_key(header, None)


@pytest.mark.parametrize("header", ["Bearer key", "bearer key", "Bearer  key "])
async def test_the_right_key_is_let_in(header: str) -> None:
    check_key(header, "key")


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
