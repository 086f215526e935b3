"""What every engine owes the gateway, asked of each row of the engine table."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple

import anyio
import pytest

from server.engines.registry import load_engine
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.engine import CompletionEngine, Tokens
from tabwright.errors import (
    ConfigError,
    EngineFailed,
    EngineOverloaded,
    EngineUnavailable,
    InvalidRequest,
)
from tabwright.request import Finish, SamplingParams
from tests.contracts.engine_rows import ROWS, Options, engine_options
from tests.fakes.tiny_artifact import make_tiny_artifact

pytestmark = pytest.mark.anyio
SLOTS = WAITING = 4
BEYOND = 100_000  # stands for the size of the vocabulary, or is more than any context
PATIENCE_S = 20  # the machine may be busy; how fast it really is, `tabwright bench` measures


@dataclass(frozen=True)
class Subject:
    """An engine under test and how to break it."""

    name: str
    engine: CompletionEngine
    break_it: Callable[[], Awaitable[None]]


class Answer(NamedTuple):
    ids: list[int]
    logprobs: list[float]
    finish: Finish | None
    pieces: int


@pytest.fixture(scope="module", params=["tiny", pytest.param("bundled", marks=pytest.mark.slow)])
def artifact(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModelArtifact:
    if request.param == "bundled":
        return ModelArtifact.load(BUNDLED_MODEL)
    return make_tiny_artifact(tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, artifact: ModelArtifact) -> Iterator[Options]:
    with engine_options(tmp_path_factory.mktemp("options"), artifact) as options:
        yield options


@pytest.fixture(scope="module", params=ROWS)
async def subject(
    request: pytest.FixtureRequest,
    artifact: ModelArtifact,
    options: Options,
) -> AsyncIterator[Subject]:
    name = request.param
    async with load_engine(name, artifact, slots=SLOTS, waiting=WAITING, **options[name]) as engine:

        async def break_it() -> None:
            if name == "cpu":
                os.kill(engine.worker_pid, signal.SIGKILL)  # type: ignore[attr-defined]
            elif name == "triton":
                assert options.triton is not None
                options.triton.kill()
                await anyio.to_thread.run_sync(options.triton.start)
                await answering(engine)
            else:
                engine.broken = True  # type: ignore[attr-defined]
                await anyio.sleep(0.05)
                engine.broken = False  # type: ignore[attr-defined]

        yield Subject(name, engine, break_it)


@pytest.fixture
async def engine(subject: Subject) -> AsyncIterator[CompletionEngine]:
    """The engine, which every test must leave empty."""
    yield subject.engine
    await settled(subject.engine)


@pytest.fixture(scope="module")
def prompt(artifact: ModelArtifact) -> list[int]:
    return artifact.tokenizer.encode("for i in range(len(items)):\n    ")


async def answer(engine: CompletionEngine, prompt: list[int], sampling: SamplingParams) -> Answer:
    ids: list[int] = []
    logprobs: list[float] = []
    finish = None
    pieces = 0
    async with engine.stream(prompt, sampling) as stream:
        async for tokens in stream:
            assert finish is None, "nothing follows the piece that has the finish"
            assert len(tokens.ids) == len(tokens.logprobs)
            ids += tokens.ids
            logprobs += tokens.logprobs
            finish = tokens.finish
            pieces += 1
    return Answer(ids, logprobs, finish, pieces)


async def settled(engine: CompletionEngine) -> None:
    """Wait until the engine holds nothing."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            stats = engine.stats()
            if (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0):
                return
            await anyio.sleep(0.001)


async def generating(engine: CompletionEngine) -> None:
    """Wait until a further token has come."""
    before = engine.stats().generated_tokens
    with anyio.fail_after(PATIENCE_S):
        while True:
            if engine.stats().generated_tokens > before:
                return
            await anyio.sleep(0.001)


async def answering(engine: CompletionEngine) -> None:
    """Wait until it answers again."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                return await engine.check()
            except EngineUnavailable:
                await anyio.sleep(0.05)


async def drained(stream: AsyncIterator[Tokens]) -> None:
    async for _ in stream:
        pass


GREEDY = SamplingParams(max_tokens=24)
LONG = SamplingParams(max_tokens=800)
SAMPLED = SamplingParams(max_tokens=24, temperature=0.8, top_p=0.95, top_k=50, seed=7)


async def test_tokens_arrive_piece_by_piece_and_end_with_a_finish(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    result = await answer(engine, prompt, GREEDY)
    assert len(result.ids) == 24
    assert result.finish is Finish.LENGTH
    assert result.pieces > 1
    assert all(0 <= i < engine.artifact.vocab_size for i in result.ids)


async def test_the_same_greedy_request_gives_the_same_tokens(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    first = await answer(engine, prompt, GREEDY)
    assert (await answer(engine, prompt, GREEDY)).ids == first.ids


async def test_a_seed_decides_what_is_sampled(engine: CompletionEngine, prompt: list[int]) -> None:
    first = await answer(engine, prompt, SAMPLED)
    assert (await answer(engine, prompt, SAMPLED)).ids == first.ids
    assert (await answer(engine, prompt, replace(SAMPLED, seed=8))).ids != first.ids
    assert (await answer(engine, prompt, replace(SAMPLED, seed=-1))).finish is not None


async def test_without_a_seed_two_samples_may_differ(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    unseeded = SamplingParams(max_tokens=24, temperature=1.0)
    seen = {tuple((await answer(engine, prompt, unseeded)).ids) for _ in range(4)}
    assert len(seen) > 1


async def test_logprobs_are_one_per_token_and_never_positive(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    for sampling in (GREEDY, SAMPLED):
        result = await answer(engine, prompt, sampling)
        assert len(result.logprobs) == len(result.ids)
        assert all(p <= 0 for p in result.logprobs)


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = (await answer(engine, prompt, GREEDY)).ids
    position = next(i for i in range(1, len(free)) if free[i] not in free[:i])
    result = await answer(engine, prompt, replace(GREEDY, stop_token_ids=(free[position],)))
    assert result.ids == free[:position]
    assert result.finish is Finish.STOP


async def test_a_stop_token_at_once_gives_an_empty_answer(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = (await answer(engine, prompt, GREEDY)).ids
    result = await answer(engine, prompt, replace(GREEDY, stop_token_ids=(free[0],)))
    assert (result.ids, result.finish) == ([], Finish.STOP)


@pytest.mark.parametrize(
    "extreme",
    [
        {"temperature": 1e-40},
        {"temperature": 2.0, "top_p": 1e-50},
        {"temperature": 2.0, "top_k": 10**30},
        {"temperature": 0.5, "seed": 2**64 - 1},
        {"max_tokens": 10**12, "temperature": 0.0},
        {"stop_token_ids": tuple(range(630, 640)) * 50},
    ],
    ids=lambda fields: ", ".join(fields),
)
async def test_extreme_values_are_served(
    engine: CompletionEngine, extreme: dict[str, object]
) -> None:
    sampling = SamplingParams(**{"max_tokens": 5, **extreme})  # type: ignore[arg-type]
    result = await answer(engine, [5, 6, 7] * 330, sampling)
    assert result.ids
    assert result.finish is not None


@pytest.mark.parametrize("count", [1, 2, 17])
async def test_max_tokens_is_exact(engine: CompletionEngine, prompt: list[int], count: int) -> None:
    result = await answer(engine, prompt, SamplingParams(max_tokens=count))
    assert (len(result.ids), result.finish) == (count, Finish.LENGTH)


async def test_generation_stops_where_the_context_ends(engine: CompletionEngine) -> None:
    long = [5, 9, 11] * engine.max_context
    result = await answer(engine, long[: engine.max_context - 3], SamplingParams(max_tokens=50))
    assert (len(result.ids), result.finish) == (3, Finish.LENGTH)


@pytest.mark.parametrize(
    ("bad", "field"),
    [([], "prompt"), ([3, -1], "prompt"), ([3, BEYOND], "prompt"), ([3] * BEYOND, "prompt")],
    ids=["empty", "negative id", "id beyond the vocabulary", "no room in the context"],
)
async def test_a_prompt_that_cannot_be_served_is_refused(
    engine: CompletionEngine, bad: list[int], field: str
) -> None:
    sizes = (engine.artifact.vocab_size, engine.max_context)
    row = [sizes[0] if i == BEYOND else i for i in bad][: sizes[1]]
    with pytest.raises(InvalidRequest) as caught:
        await answer(engine, row, GREEDY)
    assert caught.value.field == field


async def test_a_stop_token_outside_the_vocabulary_is_refused(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    with pytest.raises(InvalidRequest):
        await answer(engine, prompt, SamplingParams(stop_token_ids=(engine.artifact.vocab_size,)))


async def test_a_full_line_refuses_at_once(engine: CompletionEngine, prompt: list[int]) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SLOTS + WAITING):
            await stack.enter_async_context(engine.stream(prompt, LONG))
        stats = engine.stats()
        assert (stats.running, stats.waiting) == (SLOTS, WAITING)
        with pytest.raises(EngineOverloaded) as caught:
            await answer(engine, prompt, GREEDY)
        assert caught.value.retryable


async def test_those_who_wait_are_served_in_turn(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    served: list[int] = []

    async def one(number: int) -> None:
        result = await answer(engine, prompt, replace(GREEDY, max_tokens=8))
        assert len(result.ids) == 8
        served.append(number)

    async with anyio.create_task_group() as group:
        for number in range(SLOTS + WAITING):
            group.start_soon(one, number)
    assert sorted(served) == list(range(SLOTS + WAITING))


async def test_leaving_while_queued_frees_the_place(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SLOTS):
            await stack.enter_async_context(engine.stream(prompt, LONG))
        before = engine.stats().cancelled
        async with engine.stream(prompt, LONG):
            assert engine.stats().waiting == 1
        assert engine.stats().waiting == 0
        assert engine.stats().cancelled == before + 1


async def test_leaving_before_the_first_token_frees_the_slot(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    before = engine.stats().cancelled
    async with engine.stream(prompt, LONG):
        assert engine.stats().running == 1
    await settled(engine)
    assert engine.stats().cancelled == before + 1


async def test_leaving_in_mid_stream_frees_the_slot(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    before = engine.stats().cancelled
    async with engine.stream(prompt, LONG) as stream:
        async for _ in stream:
            break
    await settled(engine)
    assert engine.stats().cancelled == before + 1


async def test_a_cancelled_scope_frees_the_slot(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    with anyio.CancelScope() as scope:
        async with engine.stream(prompt, LONG) as stream:
            async for _ in stream:
                scope.cancel()
    assert scope.cancelled_caught
    await settled(engine)


async def test_a_stream_that_was_left_ends(engine: CompletionEngine, prompt: list[int]) -> None:
    async with engine.stream(prompt, LONG) as stream:
        pass
    with anyio.fail_after(PATIENCE_S):
        await drained(stream)


async def test_a_finished_request_is_not_counted_as_cancelled(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    before = engine.stats()
    await answer(engine, prompt, GREEDY)
    assert engine.stats().cancelled == before.cancelled
    assert engine.stats().generated_tokens == before.generated_tokens + 24


async def test_a_finished_request_frees_its_slot_before_its_block_is_left(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    async with engine.stream(prompt, GREEDY) as stream:
        await drained(stream)
        assert engine.stats().running == engine.stats().kv_blocks_used == 0


async def test_a_freed_slot_goes_to_whoever_waits(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SLOTS):
            await stack.enter_async_context(engine.stream(prompt, LONG))
        with anyio.fail_after(PATIENCE_S):
            async with engine.stream(prompt, GREEDY) as queued:
                await stack.aclose()
                assert [i async for tokens in queued for i in tokens.ids]


async def test_200_random_cancels_leak_nothing(engine: CompletionEngine, prompt: list[int]) -> None:
    choose = random.Random(4)
    refused = 0

    async def one(number: int, pause_s: float) -> None:
        nonlocal refused
        with anyio.move_on_after(pause_s):
            try:
                own = [number % 500 + 7, *prompt * (1 + number % 20)]
                await answer(engine, own, LONG)
            except EngineOverloaded:
                refused += 1

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, number, choose.uniform(0, 0.06))
            await anyio.sleep(choose.uniform(0, 0.012))
    await settled(engine)
    assert refused < 200
    assert len((await answer(engine, prompt, GREEDY)).ids) == 24


async def test_cancelled_neighbours_change_nobodys_tokens(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    wanted = [replace(SAMPLED, max_tokens=120, seed=1), replace(GREEDY, max_tokens=120)]
    alone = [(await answer(engine, prompt, sampling)).ids for sampling in wanted]
    together: list[list[int]] = [[] for _ in wanted]

    async def stay(index: int) -> None:
        together[index] = (await answer(engine, prompt, wanted[index])).ids

    async def come_and_go(number: int) -> None:
        with anyio.move_on_after(0.002 * (number % 7)):
            await answer(engine, [number + 7, *prompt * 3], LONG)

    async with anyio.create_task_group() as group:
        for index in range(len(wanted)):
            group.start_soon(stay, index)
        for number in range(30):
            await come_and_go(number)
    assert together == alone


async def test_an_engine_that_dies_fails_its_requests_and_recovers(
    subject: Subject, engine: CompletionEngine, prompt: list[int]
) -> None:
    failures: list[EngineFailed] = []
    cancelled = engine.stats().cancelled

    async def doomed() -> None:
        try:
            await answer(engine, prompt, LONG)
        except EngineFailed as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(doomed)
        await generating(engine)
        await subject.break_it()
    assert len(failures) == 2
    assert engine.stats().cancelled == cancelled, "a failure is no cancellation"
    assert all(error.retryable for error in failures)
    with anyio.fail_after(PATIENCE_S):
        assert len((await answer(engine, prompt, GREEDY)).ids) == 24


async def test_a_check_passes_while_the_engine_answers(engine: CompletionEngine) -> None:
    await engine.check()


async def test_a_closed_engine_is_unavailable(
    subject: Subject,
    artifact: ModelArtifact,
    options: Options,
    prompt: list[int],
) -> None:
    async with load_engine(subject.name, artifact, **options[subject.name]) as engine:
        async with engine.stream(prompt, LONG) as stream:
            await engine.aclose()
            with pytest.raises(EngineUnavailable):
                await drained(stream)
        with pytest.raises(EngineUnavailable):
            await answer(engine, prompt, GREEDY)
        with pytest.raises(EngineUnavailable):
            await engine.check()


async def test_closing_fails_those_in_line_too(
    subject: Subject,
    artifact: ModelArtifact,
    options: Options,
    prompt: list[int],
) -> None:
    async with (
        load_engine(subject.name, artifact, slots=1, **options[subject.name]) as engine,
        engine.stream(prompt, LONG),
        engine.stream(prompt, LONG) as queued,
    ):
        assert engine.stats().waiting == 1
        await engine.aclose()
        with anyio.fail_after(PATIENCE_S), pytest.raises(EngineUnavailable):
            await drained(queued)
        assert engine.stats().running == engine.stats().waiting == 0


def test_an_unknown_engine_is_refused_by_name(artifact: ModelArtifact) -> None:
    with pytest.raises(ConfigError, match="known: scripted, cpu"):
        load_engine("tpu", artifact)


@pytest.mark.parametrize("name", ROWS)
def test_an_unknown_option_is_refused(artifact: ModelArtifact, name: str) -> None:
    with pytest.raises(ConfigError, match="wheels"):
        load_engine(name, artifact, wheels=4)
