"""Does a run compute the same on any number of ranks, however they share the work?

The table of equalities of docs/training.md, in fp32. Every run is of 50 steps on the same data.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.training_worlds import Losses, Worlds, apart

pytest.importorskip("torch")

STEPS = 50
CONFIG = f"""
[model]
hidden_size = 32
layers = 2
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
eval_every = 50
eval_rows = 4
threads = 1
[checkpoint]
every = 25
keep = 3
[tracking]
holes = 0
prompts = []
"""


def _code(number: int) -> str:
    return "\n\n".join(
        f"def area_{number}_{i}(width, height):\n    return width * height + {i}\n"
        for i in range(30)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few files, and the config."""
    from tabwright.cli import main as tabwright

    root = tmp_path_factory.mktemp("equalities")
    (root / "config.toml").write_text(CONFIG)
    data = "[tokenizer]\nvocab_size = 601\n[dedup]\nnear = false\n"
    for name in ("seen", "unseen"):
        (root / name).mkdir()
        for number in range(4):
            (root / name / f"shapes_{number}.py").write_text(_code(number + 10 * (name == "seen")))
        data += f'[[source]]\nkind = "folder"\nname = "{name}"\nfolder = "{root / name}"\n'
        data += f'licence = "MIT"\nheld_out = {str(name == "unseen").lower()}\n'
    (root / "data.toml").write_text(data)
    verbs = ["train", "data", "run", "--config", str(root / "data.toml"), "--workers", "1"]
    assert tabwright([*verbs, "--out", str(root / "data")]) == 0
    return root


Train = Callable[..., dict[str, Losses]]


@pytest.fixture(scope="module")
def worlds(root: Path) -> Worlds:
    return Worlds(root, root / "data" / "shards")


@pytest.fixture(scope="module")
def train(worlds: Worlds) -> Train:
    return worlds.train


@pytest.fixture(scope="module")
def alone(train: Train) -> Losses:
    """The run that others are compared with: one rank."""
    losses = train(alone=(1,))["alone"]
    assert list(losses) == list(range(1, STEPS + 1))
    assert losses[STEPS] < losses[1] - 0.5
    return losses


def _continue(root: Path, name: str) -> None:
    """A copy of the lone run as it was at its first checkpoint."""
    shutil.copytree(root / "alone", root / name)
    shutil.rmtree(root / name / "checkpoints" / f"step-{STEPS:08d}")
    (root / name / "metrics.jsonl").unlink()


FSDP = "parallel.strategy=fsdp"
TENSOR = ("parallel.strategy=fsdp", "parallel.tensor=2")


def test_two_ranks_compute_what_one_does_and_so_do_their_shards(
    train: Train, alone: Losses, worlds: Worlds
) -> None:
    losses = train(two=(2,), fsdp=(2, FSDP))
    assert {name: apart(alone, found) <= 1e-5 for name, found in losses.items()} == {
        "two": True, "fsdp": True,
    }  # fmt: skip
    assert len({worlds.consumed(name, STEPS) for name in ("alone", "two", "fsdp")}) == 1


def test_a_resumed_run_ends_with_the_same_bytes_and_on_other_ranks_with_the_same_loss(
    train: Train, alone: Losses, root: Path, worlds: Worlds
) -> None:
    for name in ("again", "elsewhere"):
        _continue(root, name)
    losses = train(again=(1,), elsewhere=(2, FSDP))
    assert list(losses["again"]) == list(range(STEPS // 2 + 1, STEPS + 1))
    assert apart(alone, losses["again"]) == 0
    assert apart(alone, losses["elsewhere"]) <= 1e-5
    assert len({worlds.consumed(name, STEPS) for name in ("alone", "again", "elsewhere")}) == 1
    last = Path("checkpoints") / f"step-{STEPS:08d}" / "model" / "model.safetensors"
    assert (root / "again" / last).read_bytes() == (root / "alone" / last).read_bytes()


def test_the_pieces_put_together_are_the_model_that_transformers_loads(
    train: Train, alone: Losses, root: Path
) -> None:
    """DCP → safetensors → transformers, held against the weights read from the pieces."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load
    from transformers import AutoModelForCausalLM

    assert alone
    if not (root / "fsdp").exists():
        train(fsdp=(2, FSDP))
    checkpoint = root / "fsdp" / "checkpoints" / f"step-{STEPS:08d}"
    merged = AutoModelForCausalLM.from_pretrained(checkpoint / "model", dtype=torch.float32)
    pieces = AutoModelForCausalLM.from_config(merged.config)  # type: ignore[no-untyped-call]
    state = {f"model.{name}": p.detach() for name, p in pieces.named_parameters()}
    with pytest.warns(UserWarning, match="single process"):
        load(state, storage_reader=FileSystemReader(checkpoint / "state"), no_dist=True)
    ids = torch.arange(60)[None] % 600
    with torch.no_grad():
        assert (merged(ids).logits - pieces(ids).logits).abs().max() <= 1e-5


@pytest.mark.slow
def test_four_ranks_and_shared_matrices_compute_what_one_does(train: Train, alone: Losses) -> None:
    losses = train(
        tensor=(2, *TENSOR),
        four=(4,),
        four_shards=(4, FSDP),
        four_tensor=(4, *TENSOR, "parallel.recompute=true"),
    )
    assert all(apart(alone, found) <= 1e-5 for found in losses.values())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "starcoder2"])
@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_architecture_is_the_same_on_shared_matrices(
    train: Train, architecture: str, tied: str
) -> None:
    shape = (f"model.architecture={architecture}", f"model.tie_embeddings={tied}")
    name = f"{architecture}_{tied}"
    losses = train(**{name: (1, *shape), f"{name}_tensor": (4, *shape, *TENSOR)})
    assert apart(losses[name], losses[f"{name}_tensor"]) <= 1e-5


@pytest.mark.slow
def test_muon_moves_shared_matrices_as_it_moves_whole_ones(train: Train) -> None:
    muon = ("optimizer.name=muon", "schedule.steps=12")
    losses = train(muon=(1, *muon), muon_tensor=(4, *muon, *TENSOR))
    assert apart(losses["muon"], losses["muon_tensor"]) <= 1e-3  # it computes in bf16


@pytest.mark.slow
def test_a_compiled_run_computes_what_a_plain_one_does(train: Train, alone: Losses) -> None:
    losses = train(compiled=(1, "run.compile=true"), compiled_shards=(2, FSDP, "run.compile=true"))
    assert all(apart(alone, found) <= 1e-4 for found in losses.values())
