"""Do the stages of a pipeline compute what one rank does? In fp32, 50 steps on the same data."""

from __future__ import annotations

import shutil

import pytest

from tests.fakes.tiny_shards import write_tiny_shards
from tests.fakes.training_worlds import Losses, Worlds, apart

pytest.importorskip("torch")

STEPS = 50
CONFIG = f"""
[model]
hidden_size = 32
layers = 4
heads = 4
kv_heads = 2
intermediate_size = 64
max_positions = 64
[data]
context = 64
batch_rows = 4
micro_rows = 1
[optimizer]
name = "adamw"
lr = 0.003
embedding_lr = 0.003
[schedule]
steps = {STEPS}
warmup_steps = 5
[run]
precision = "fp32"
deterministic = true
eval_every = 25
eval_rows = 6
threads = 1
[checkpoint]
every = 25
keep = 3
[tracking]
holes = 0
prompts = []
"""
TWO = "parallel.pipeline=2"
INTERLEAVED = (TWO, "parallel.schedule=interleaved")
FSDP = "parallel.strategy=fsdp"


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    root = tmp_path_factory.mktemp("pipeline")
    (root / "config.toml").write_text(CONFIG)
    return Worlds(root, write_tiny_shards(root / "data"))


@pytest.fixture(scope="module")
def quick(worlds: Worlds) -> dict[str, Losses]:
    """One rank, and both schedules on two."""
    return worlds.train(alone=(1,), plain=(2, TWO), interleaved=(2, *INTERLEAVED))


@pytest.fixture(scope="module")
def alone(quick: dict[str, Losses]) -> Losses:
    """The run that others are compared with."""
    losses = quick["alone"]
    assert losses[STEPS] < losses[1] - 0.5
    return losses


def _held_out(worlds: Worlds, name: str) -> list[float]:
    return [row["held_out_loss"] for row in worlds.metrics(name) if "held_out_loss" in row]


def test_both_schedules_compute_what_one_rank_does(
    worlds: Worlds, alone: Losses, quick: dict[str, Losses]
) -> None:
    for name, found in quick.items():
        assert list(found) == list(range(1, STEPS + 1))
        assert apart(alone, found) <= 1e-5, name
        assert _held_out(worlds, name) == pytest.approx(_held_out(worlds, "alone"), abs=1e-5)
    assert len({worlds.consumed(name, STEPS) for name in quick}) == 1


def test_a_checkpoint_of_stages_is_one_models(worlds: Worlds, quick: dict[str, Losses]) -> None:
    from safetensors.torch import load_file

    assert quick
    one, other = (
        load_file(worlds.checkpoint(name, STEPS) / "model" / "model.safetensors")
        for name in ("alone", "plain")
    )
    assert one.keys() == other.keys()
    assert "lm_head.weight" not in one  # the table is tied
    assert max(float((one[name] - other[name]).abs().max()) for name in one) <= 1e-4


def _continue(worlds: Worlds, name: str, new: str) -> None:
    """A copy of a run as it was at its first checkpoint."""
    shutil.copytree(worlds.root / name, worlds.root / new)
    shutil.rmtree(worlds.checkpoint(new, STEPS))
    (worlds.root / new / "metrics.jsonl").unlink()


@pytest.mark.slow
def test_a_run_goes_on_as_stages_and_back(worlds: Worlds, alone: Losses) -> None:
    average = "checkpoint.average=0.9"
    worlds.train(averaged=(1, average), staged=(2, *INTERLEAVED, average))
    _continue(worlds, "averaged", "to_stages")
    _continue(worlds, "staged", "to_one")
    _continue(worlds, "staged", "to_shards")
    losses = worlds.train(
        to_stages=(2, TWO, average), to_one=(1, average), to_shards=(2, FSDP, average)
    )
    for name, found in losses.items():
        assert list(found) == list(range(STEPS // 2 + 1, STEPS + 1))
        assert apart(alone, found) <= 1e-5, name
    names = ("averaged", "staged", *losses)
    assert len({worlds.consumed(name, STEPS) for name in names}) == 1
    from safetensors.torch import load_file

    weights = [
        load_file(worlds.checkpoint(name, STEPS) / "average" / "model.safetensors")
        for name in names
    ]
    for other in weights[1:]:
        assert max(float((weights[0][name] - other[name]).abs().max()) for name in other) <= 1e-4


@pytest.mark.slow
def test_stages_share_rows_and_matrices_with_other_ranks(worlds: Worlds, alone: Losses) -> None:
    tensor = (FSDP, "parallel.tensor=2")
    losses = worlds.train(
        four=(4, "parallel.pipeline=4"),
        copies=(4, TWO),
        copies_interleaved=(4, *INTERLEAVED),
        shards=(4, TWO, FSDP),
        shards_interleaved=(4, *INTERLEAVED, FSDP),
        matrices=(4, TWO, *tensor, "parallel.recompute=true"),
    )
    assert {name: apart(alone, found) <= 1e-5 for name, found in losses.items()} == dict.fromkeys(
        losses, True
    )
    assert len({worlds.consumed(name, STEPS) for name in ("alone", *losses)}) == 1
    for name in losses:
        assert _held_out(worlds, name) == pytest.approx(_held_out(worlds, "alone"), abs=1e-5)


@pytest.mark.slow
def test_a_model_in_parts_answers_what_a_whole_one_does(worlds: Worlds) -> None:
    asked = (
        "schedule.steps=8", "checkpoint.every=8", "run.eval_every=8",
        "tracking.holes=3", "tracking.answer_tokens=6",
        'tracking.prompts=[{prefix = "def area_1", suffix = "\\n"}, {prefix = "    return "}]',
    )  # fmt: skip
    worlds.train(
        whole=(1, *asked),
        shares=(2, FSDP, *asked),
        halves=(2, *asked, TWO),
        quarters=(2, *asked, *INTERLEAVED, FSDP),
        cut=(2, FSDP, "parallel.tensor=2", *asked),
    )
    told = {
        name: (worlds.root / name / "samples.jsonl").read_text()
        for name in ("whole", "shares", "halves", "quarters", "cut")
    }
    assert told["whole"].count('"middle"') == 2
    assert set(told.values()) == {told["whole"]}
    shares = [worlds.metrics(name)[-1]["fim_exact_match"] for name in told]
    assert set(shares) == {shares[0]}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "starcoder2"])
@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_architecture_is_the_same_in_stages(
    worlds: Worlds, architecture: str, tied: str
) -> None:
    shape = (f"model.architecture={architecture}", f"model.tie_embeddings={tied}",
             "data.mask_documents=true", "data.prefix_rate=0.3", "schedule.steps=20")  # fmt: skip
    one, other = f"{architecture}_{tied}", f"{architecture}_{tied}_stages"
    losses = worlds.train(**{one: (1, *shape), other: (2, *shape, *INTERLEAVED)})
    assert apart(losses[one], losses[other]) <= 1e-5


@pytest.mark.slow
def test_muon_moves_the_matrices_of_stages(worlds: Worlds) -> None:
    muon = ("optimizer.name=muon", "schedule.steps=12")
    losses = worlds.train(muon=(1, *muon), muon_stages=(2, *muon, TWO))
    assert apart(losses["muon"], losses["muon_stages"]) <= 1e-3  # it computes in bf16


@pytest.mark.slow
def test_stages_compute_in_bf16_too(worlds: Worlds) -> None:
    bf16 = ("run.precision=bf16", "schedule.steps=20")
    losses = worlds.train(
        bf16=(1, *bf16),
        bf16_stages=(2, *bf16, *INTERLEAVED),
        bf16_shards=(2, *bf16, FSDP),
        bf16_both=(4, *bf16, TWO, FSDP),
    )
    assert apart(losses["bf16"], losses["bf16_stages"]) <= 1e-2
    assert apart(losses["bf16_shards"], losses["bf16_both"]) <= 1e-2
