"""Greedy ids of the CPU engine in f32 equal those of transformers.

The tiny models have random weights: their logits lie close together, so an error anywhere in the
graph shows in the first tokens.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from server.engines.cpu import CpuEngine
from server.engines.cpu_settings import CpuSettings, Precision
from tabwright.artifact import ModelArtifact
from tabwright.request import SamplingParams, Suggestion
from tests.fakes.tiny_artifact import make_tiny_artifact

pytestmark = [pytest.mark.anyio, pytest.mark.needs("cpu"), pytest.mark.needs("torch")]

BUNDLED = Path(__file__).parents[2] / "server" / "models" / "tabwright-7m"
NEW_TOKENS = 32
VARIANTS: dict[str, dict[str, Any]] = {
    "tied bf16": {},
    "separate output matrix, three files, f16": {"tied": False, "shards": 3, "dtype": "F16"},
    "f32": {"dtype": "F32", "seed": 3},
    "rope_parameters": {
        "config": {
            "rope_theta": None,
            "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
        }
    },
    "one key-value head for each query head": {"config": {"num_key_value_heads": 4}},
    "qwen2 with biases": {
        "config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
        "biases": True,
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: several wait for each other in busy loops, for minutes if others
    use the machine.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


async def ours(artifact: ModelArtifact, prompts: list[list[int]], cache: Path) -> list[list[int]]:
    """Greedy ids, all prompts at once."""
    answers: list[list[int]] = [[] for _ in prompts]
    settings = CpuSettings(cache_dir=cache, precision=Precision.F32, waiting=len(prompts))
    async with CpuEngine(artifact, settings) as engine:

        async def one(index: int) -> None:
            sampling = SamplingParams(max_tokens=NEW_TOKENS)
            async with engine.stream(prompts[index], sampling) as stream:
                answers[index] = [i async for tokens in stream for i in tokens.ids]

        async with anyio.create_task_group() as group:
            for index in range(len(prompts)):
                group.start_soon(one, index)
    return answers


def theirs(folder: Path, prompts: list[list[int]]) -> list[list[int]]:
    """Greedy ids of transformers, one prompt after the other."""
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config.eos_token_id = None  # the engine was given no stop ids either
    answers = []
    for prompt in prompts:
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
        )
        answers.append(out[0, len(prompt) :].tolist())
    return answers


def their_choices(
    folder: Path, prompts: list[list[int]], answers: list[list[int]]
) -> list[list[int]]:
    """What transformers would choose after each prefix of each answer.

    All equal means that its greedy answer is equal, and takes one pass instead of one a token.
    """
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    choices = []
    with torch.inference_mode():
        for prompt, answer in zip(prompts, answers, strict=True):
            logits = model(torch.tensor([prompt + answer])).logits[0]
            choices.append(logits[len(prompt) - 1 : -1].argmax(-1).tolist())
    return choices


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
async def test_greedy_ids_equal_those_of_transformers(
    tmp_path: Path, variant: dict[str, Any]
) -> None:
    artifact = make_tiny_artifact(tmp_path / "tiny", **variant)
    choose = random.Random(2)
    prompts = [choose.choices(range(7, 512), k=length) for length in (1, 5, 33, 300)]
    assert await ours(artifact, prompts, tmp_path / "ir") == theirs(artifact.path, prompts)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
async def test_logprobs_are_those_of_the_model_before_temperature(
    tmp_path: Path, temperature: float
) -> None:
    import torch
    import transformers

    artifact = make_tiny_artifact(tmp_path / "tiny")
    prompt = [300, 40, 77, 9]
    ids: list[int] = []
    logprobs: list[float] = []
    settings = CpuSettings(cache_dir=tmp_path / "ir", precision=Precision.F32, threads=1)
    sampling = SamplingParams(max_tokens=20, temperature=temperature, top_p=0.9, seed=5)
    async with (
        CpuEngine(artifact, settings) as engine,
        engine.stream(prompt, sampling) as stream,
    ):
        async for tokens in stream:
            ids += tokens.ids
            logprobs += tokens.logprobs
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        artifact.path, dtype=torch.float32
    )
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)[range(len(ids)), ids].tolist()
    assert logprobs == pytest.approx(expected, abs=1e-3)


STEERED: dict[str, dict[str, Any]] = {
    "presence": {"presence_penalty": 1.3},
    "presence below zero": {"presence_penalty": -2.0},
    "frequency": {"frequency_penalty": 0.8},
    "frequency below zero": {"frequency_penalty": -2.0},
    "repetition": {"repetition_penalty": 1.4},
    "repetition below one": {"repetition_penalty": 0.7},
    "bias": {"logit_bias": ((300, 4.0), (301, 4.5), (77, -100.0), (302, -3.0))},
    "all together": {
        "presence_penalty": -0.9,
        "frequency_penalty": 0.4,
        "repetition_penalty": 1.2,
        "logit_bias": ((300, 6.0), (301, 6.5)),
    },
}


@pytest.mark.parametrize("fields", STEERED.values(), ids=list(STEERED))
async def test_steered_greedy_ids_are_those_of_the_changed_logits(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    artifact = make_tiny_artifact(tmp_path / "tiny")
    choose = random.Random(9)
    prompt = choose.choices(range(7, 512), k=300)
    sampling = SamplingParams(max_tokens=40, **fields)
    ids = list((await whole(artifact, tmp_path / "ir", prompt, sampling)).ids)
    rows = their_logits(artifact.path, prompt + ids)[len(prompt) - 1 : -1]
    for place, (row, chosen) in enumerate(zip(rows, ids, strict=True)):
        changed = changed_logits(row, prompt, ids[:place], sampling)
        assert changed[chosen] > max(changed) - 1e-3, place
    free = list((await whole(artifact, tmp_path / "ir", prompt, SamplingParams(max_tokens=40))).ids)
    assert ids != free, "the fields change something"


def changed_logits(
    row: list[float], prompt: list[int], answer: list[int], sampling: SamplingParams
) -> list[float]:
    """Word by word what `SamplingParams` says."""
    out = list(row)
    for i in {*prompt, *answer}:
        factor = sampling.repetition_penalty
        out[i] = out[i] / factor if out[i] > 0 else out[i] * factor
    for i in set(answer):
        out[i] -= sampling.presence_penalty
        out[i] -= sampling.frequency_penalty * answer.count(i)
    for i, bias in sampling.logit_bias:
        out[i] += bias
    return out


def their_logits(folder: Path, ids: list[int]) -> list[list[float]]:
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        rows: list[list[float]] = model(torch.tensor([ids])).logits[0].tolist()
    return rows


async def whole(
    artifact: ModelArtifact, cache: Path, prompt: list[int], sampling: SamplingParams
) -> Suggestion:
    """One answer of the exact engine, as one piece."""
    told = Suggestion("")
    settings = CpuSettings(cache_dir=cache, precision=Precision.F32, threads=1)
    async with (
        CpuEngine(artifact, settings) as engine,
        engine.stream(prompt, sampling) as stream,
    ):
        async for new in stream:
            told = Suggestion(
                "",
                ids=told.ids + new.ids,
                logprobs=told.logprobs + new.logprobs,
                alternatives=told.alternatives + new.alternatives,
                prompt=told.prompt or new.prompt,
            )
    return told


async def test_scores_and_alternatives_are_those_of_the_model(tmp_path: Path) -> None:
    import torch

    artifact = make_tiny_artifact(tmp_path / "tiny")
    prompt = random.Random(4).choices(range(7, 512), k=600)  # three chunks
    sampling = SamplingParams(
        max_tokens=12, temperature=0.9, seed=1, alternatives=5, prompt_logprobs=True
    )
    told = await whole(artifact, tmp_path / "ir", prompt, sampling)
    assert told.prompt
    ids = [*prompt, *told.ids]
    logprobs = torch.tensor(their_logits(artifact.path, ids)).log_softmax(-1)[:-1]
    expected = logprobs[range(len(ids) - 1), ids[1:]].tolist()
    scored = [*told.prompt.logprobs[1:], *told.logprobs]
    assert scored == pytest.approx(expected, abs=1e-3)
    top = logprobs.topk(5)
    rankings = [*told.prompt.alternatives[1:], *told.alternatives]
    assert len(rankings) == len(ids) - 1
    for ranking, values, row in zip(rankings, top.values.tolist(), logprobs, strict=True):
        assert [p for _, p in ranking] == pytest.approx(values, abs=1e-3)
        assert [p for _, p in ranking] == pytest.approx(
            [float(row[i]) for i, _ in ranking], abs=1e-3
        )


@pytest.mark.skipif(not BUNDLED.is_dir(), reason="the bundled model is not there")
async def test_the_bundled_model_continues_50_real_prompts_as_in_transformers(
    tmp_path: Path,
) -> None:
    artifact = ModelArtifact.load(BUNDLED)
    prompts = real_prompts(artifact, 50)
    answers = await ours(artifact, prompts, tmp_path)
    choices = their_choices(artifact.path, prompts, answers)
    different = [i for i in range(len(prompts)) if answers[i] != choices[i]]
    assert not different, f"{len(different)} of {len(prompts)} prompts differ: {different}"


def real_prompts(artifact: ModelArtifact, count: int) -> list[list[int]]:
    """Cut fill-in-the-middle prompts out of the standard library."""
    choose = random.Random(11)
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    prompts: list[list[int]] = []
    while len(prompts) < count:
        text = choose.choice(files).read_text(encoding="utf-8")
        if len(text) < 2000:
            continue
        at = choose.randrange(500, len(text) - 500)
        prefix = artifact.tokenizer.encode(text[max(0, at - 900) : at])[-300:]
        suffix = artifact.tokenizer.encode(text[at + 20 : at + 400])[:120]
        prompts.append(artifact.fim.prompt(prefix, suffix if choose.random() < 0.8 else None))
    return prompts
