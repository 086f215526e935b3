"""What every engine owes those who steer the choice of tokens or ask how likely they were.

An engine may refuse a field, by name and before it does anything; it may not ignore one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from server.engines.registry import load_engine
from tabwright.engine import CompletionEngine
from tabwright.errors import InvalidRequest
from tabwright.request import OPTIONAL_SAMPLING, Finish, Ranking, SamplingParams, ScoredPrompt
from tests.contracts.engine_rows import ROWS, engine_options
from tests.fakes.tiny_artifact import make_tiny_artifact

pytestmark = pytest.mark.anyio
FORCED = 100.0
BANNED = -100.0
EXAMPLES: dict[str, Any] = {
    "min_p": 0.5,
    "repetition_penalty": 1.5,
    "presence_penalty": 1.0,
    "frequency_penalty": 1.0,
    "logit_bias": ((9, 1.0),),
    "alternatives": 2,
    "prompt_logprobs": True,
}


class Told:
    """Everything that an engine said about one request."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.alternatives: list[Ranking] = []
        self.prompts: list[ScoredPrompt | None] = []
        self.finish: Finish | None = None


@pytest.fixture(scope="module", params=ROWS)
async def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[CompletionEngine]:
    folder = tmp_path_factory.mktemp("sampling")
    artifact = make_tiny_artifact(folder / "tiny")
    with engine_options(folder, artifact) as options:
        row = options[request.param]
        async with load_engine(request.param, artifact, slots=4, waiting=8, **row) as engine:
            yield engine
            stats = engine.stats()
            assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)


@pytest.fixture
def prompt(engine: CompletionEngine) -> list[int]:
    return engine.artifact.tokenizer.encode("for i in range(len(items)):\n    ")


async def ask(engine: CompletionEngine, prompt: list[int], **fields: Any) -> Told:
    if refused := fields.keys() & engine.refuses:
        pytest.skip(f"the engine says that it refuses {', '.join(refused)}")
    told = Told()
    async with engine.stream(prompt, SamplingParams(**fields)) as pieces:
        async for piece in pieces:
            assert len(piece.ids) == len(piece.logprobs)
            told.ids += piece.ids
            told.logprobs += piece.logprobs
            told.alternatives += piece.alternatives
            told.prompts.append(piece.prompt)
            told.finish = piece.finish
    return told


def biased(*pairs: tuple[int, float]) -> tuple[tuple[int, float], ...]:
    return pairs


async def repeater(
    engine: CompletionEngine, prompt: list[int], lead: float, times: int = 1, **fields: Any
) -> tuple[int, int, tuple[tuple[int, float], ...]]:
    """Two ids and a bias that lets no other be chosen: the first one comes `times` times, even with
    `fields`, and after that its logit is higher than that of the second by `lead`.
    """
    first = (await ask(engine, prompt, max_tokens=1)).ids[0]
    only = {"max_tokens": times + 1, "logit_bias": biased((first, FORCED))}
    place = await ask(engine, prompt, alternatives=20, **only)
    assert place.ids == [first] * (times + 1)
    for second, logprob in place.alternatives[times]:
        if second == first:
            continue
        equal = place.logprobs[times] - logprob
        bias = biased((first, 80.0), (second, 80.0 + equal - lead))
        told = await ask(engine, prompt, max_tokens=times, logit_bias=bias, **fields)
        if told.ids == [first] * times:
            return first, second, bias
    raise AssertionError("no pair of ids fits")


async def test_a_bias_of_100_forces_a_token_and_of_minus_100_bans_it(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = await ask(engine, prompt, max_tokens=4)
    forced = await ask(engine, prompt, max_tokens=4, logit_bias=biased((77, FORCED)))
    assert forced.ids == [77] * 4
    banned = await ask(engine, prompt, max_tokens=4, logit_bias=biased((free.ids[0], BANNED)))
    assert free.ids[0] not in banned.ids
    runner_up = await ask(engine, prompt, max_tokens=1, alternatives=2)
    assert banned.ids[0] == runner_up.alternatives[0][1][0]


async def test_a_banned_stop_token_does_not_end_the_answer(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    stops = (77,)
    bias = biased((77, FORCED))
    ended = await ask(engine, prompt, max_tokens=4, logit_bias=bias, stop_token_ids=stops)
    assert (ended.ids, ended.finish) == ([], Finish.STOP)
    bias = biased((77, BANNED), (78, FORCED))
    going = await ask(engine, prompt, max_tokens=4, logit_bias=bias, stop_token_ids=stops)
    assert (going.ids, going.finish) == ([78] * 4, Finish.LENGTH)


async def test_a_penalty_big_enough_stops_a_repetition(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    first, second, bias = await repeater(engine, prompt, lead=1.0)
    repeated = await ask(engine, prompt, max_tokens=2, logit_bias=bias)
    assert repeated.ids == [first, first]
    for field in ("presence_penalty", "frequency_penalty"):
        broken = await ask(engine, prompt, max_tokens=2, logit_bias=bias, **{field: 2.0})
        assert broken.ids == [first, second]


@pytest.mark.parametrize("lead", [0.3, 1.7])
@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
async def test_a_penalty_lowers_a_token_by_exactly_its_amount(
    engine: CompletionEngine, prompt: list[int], field: str, lead: float
) -> None:
    first, second, bias = await repeater(engine, prompt, lead)
    for amount, wanted in ((lead - 0.01, first), (lead + 0.01, second)):
        told = await ask(engine, prompt, max_tokens=2, logit_bias=bias, **{field: amount})
        assert told.ids == [first, wanted], amount


async def test_a_negative_penalty_raises_a_token_by_exactly_its_amount(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    first, second, bias = await repeater(engine, prompt, lead=-0.5)
    for amount, wanted in ((-0.51, first), (-0.49, second)):
        told = await ask(engine, prompt, max_tokens=2, logit_bias=bias, presence_penalty=amount)
        assert told.ids == [first, wanted], amount


async def test_presence_counts_once_and_frequency_every_time(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    first, second, bias = await repeater(engine, prompt, 0.9, times=2, frequency_penalty=0.6)
    for field, wanted in (("presence_penalty", first), ("frequency_penalty", second)):
        told = await ask(engine, prompt, max_tokens=3, logit_bias=bias, **{field: 0.6})
        assert told.ids == [first, first, wanted], field


async def test_penalties_count_the_answer_and_not_the_prompt(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    first, _, bias = await repeater(engine, prompt, lead=1.0)
    after = [*prompt, first]
    for field in ("presence_penalty", "frequency_penalty"):
        told = await ask(engine, after, max_tokens=1, logit_bias=bias, **{field: 2.0})
        assert told.ids == [first]


async def test_a_repetition_penalty_counts_the_prompt_too(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = (await ask(engine, prompt, max_tokens=1)).ids[0]
    before = [free, *prompt]
    there = (await ask(engine, before, max_tokens=1)).ids[0]
    # Whatever is likeliest is made unlikely by standing in the prompt.
    told = await ask(engine, [there, *before], max_tokens=1, repetition_penalty=10.0)
    assert told.ids[0] not in (there, *before)


async def test_min_p_of_one_leaves_only_the_likeliest(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    sampled = {"max_tokens": 8, "temperature": 1.5, "seed": 3}
    likeliest = await ask(engine, prompt, max_tokens=8)
    assert (await ask(engine, prompt, min_p=1.0, **sampled)).ids == likeliest.ids
    assert (await ask(engine, prompt, **sampled)).ids != likeliest.ids


async def test_a_seed_decides_what_is_sampled_under_changed_probabilities(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    fields: dict[str, Any] = {"max_tokens": 12, "temperature": 1.0, "presence_penalty": 0.5}
    first = await ask(engine, prompt, seed=5, **fields)
    assert (await ask(engine, prompt, seed=5, **fields)).ids == first.ids
    assert (await ask(engine, prompt, seed=6, **fields)).ids != first.ids


@pytest.mark.parametrize("count", [1, 5, 20])
async def test_alternatives_are_ranked_and_agree_with_the_chosen_token(
    engine: CompletionEngine, prompt: list[int], count: int
) -> None:
    told = await ask(engine, prompt, max_tokens=6, alternatives=count)
    assert len(told.alternatives) == len(told.ids) == 6
    for token_id, logprob, ranking in zip(told.ids, told.logprobs, told.alternatives, strict=True):
        assert len({i for i, _ in ranking}) == len(ranking) == count
        assert [p for _, p in ranking] == sorted((p for _, p in ranking), reverse=True)
        assert ranking[0][0] == token_id
        assert ranking[0][1] == pytest.approx(logprob, abs=1e-4)
        assert all(p <= 0 for _, p in ranking)


async def test_asking_for_alternatives_does_not_change_the_answer(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = await ask(engine, prompt, max_tokens=16)
    told = await ask(engine, prompt, max_tokens=16, alternatives=3)
    assert told.ids == free.ids
    assert told.logprobs == pytest.approx(free.logprobs, abs=1e-3)
    assert free.alternatives == []


async def test_logprobs_are_those_before_any_change(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    free = await ask(engine, prompt, max_tokens=1)
    bias = biased((free.ids[0], 50.0))
    told = await ask(engine, prompt, max_tokens=1, logit_bias=bias, temperature=0.5, seed=1)
    assert told.ids == free.ids
    assert told.logprobs == pytest.approx(free.logprobs, abs=1e-4)


async def test_a_prompt_is_scored_without_generating(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    told = await ask(engine, prompt, max_tokens=0, prompt_logprobs=True, alternatives=2)
    assert (told.ids, told.finish) == ([], Finish.LENGTH)
    (scored,) = told.prompts
    assert scored
    assert scored.ids == tuple(prompt)
    assert scored.logprobs[0] is None
    assert scored.alternatives[0] == ()
    assert all(p is not None and p <= 0 for p in scored.logprobs[1:])
    assert [len(ranking) for ranking in scored.alternatives[1:]] == [2] * (len(prompt) - 1)


async def test_a_scored_prompt_agrees_with_what_is_generated(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    generated = await ask(engine, prompt, max_tokens=6, prompt_logprobs=True)
    assert [bool(scored) for scored in generated.prompts] == [
        i == 0 for i in range(len(generated.prompts))
    ]
    assert generated.prompts[0]
    assert generated.prompts[0].alternatives == ()
    both = [*prompt, *generated.ids]
    told = await ask(engine, both, max_tokens=0, prompt_logprobs=True)
    assert told.prompts[0]
    wanted = [*generated.prompts[0].logprobs[1:], *generated.logprobs]
    assert told.prompts[0].logprobs[1:] == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("length", [1, 2, 255, 256, 257, 1024])
async def test_prompts_of_every_length_are_scored_whole(
    engine: CompletionEngine, length: int
) -> None:
    text = [7 + i * 31 % 500 for i in range(length)]
    told = await ask(engine, text, max_tokens=0, prompt_logprobs=True)
    assert told.prompts[0]
    assert len(told.prompts[0].logprobs) == length
    assert None not in told.prompts[0].logprobs[1:]


async def test_nothing_at_all_is_no_request(engine: CompletionEngine, prompt: list[int]) -> None:
    with pytest.raises(InvalidRequest, match=r"^max_tokens: "):
        await ask(engine, prompt, max_tokens=0)


async def test_a_bias_outside_the_vocabulary_is_refused(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    with pytest.raises(InvalidRequest, match=r"^logit_bias: "):
        await ask(engine, prompt, logit_bias=biased((640, 1.0)))


async def test_steered_requests_run_side_by_side_with_others_and_can_be_left(
    engine: CompletionEngine, prompt: list[int]
) -> None:
    alone = await ask(engine, prompt, max_tokens=60)
    steered = await ask(engine, prompt, max_tokens=60, alternatives=1)
    results: dict[int, list[int]] = {}

    async def one(number: int) -> None:
        fields: dict[str, Any] = {"alternatives": 1} if number % 2 else {}
        results[number] = (await ask(engine, prompt, max_tokens=60, **fields)).ids

    async def leaver() -> None:
        sampling = SamplingParams(max_tokens=800, alternatives=1)
        with anyio.move_on_after(0.05):
            async with engine.stream(prompt * 20, sampling) as pieces:
                async for _ in pieces:
                    pass

    before = engine.stats().cancelled
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)
            group.start_soon(leaver)
    for number, ids in results.items():
        assert ids == (steered.ids if number % 2 else alone.ids)
    assert engine.stats().cancelled > before
    with anyio.fail_after(20):
        while True:
            if engine.stats().running == 0:
                return
            await anyio.sleep(0.001)


def test_every_field_that_may_be_refused_has_an_example() -> None:
    assert EXAMPLES.keys() == OPTIONAL_SAMPLING
    for name, value in EXAMPLES.items():
        assert SamplingParams(**{name: value}).asked() == {name}
    assert SamplingParams().asked() == frozenset()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_an_engine_refuses_by_name_what_it_says_it_refuses(
    engine: CompletionEngine, prompt: list[int], name: str
) -> None:
    sampling = replace(SamplingParams(max_tokens=1), **{name: EXAMPLES[name]})
    if name in engine.refuses:
        with pytest.raises(InvalidRequest, match=f"^{name}: "):
            async with engine.stream(prompt, sampling):
                pass
    else:
        async with engine.stream(prompt, sampling) as pieces:
            assert [i async for piece in pieces for i in piece.ids]
