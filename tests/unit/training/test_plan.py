"""Does a plan say what others measured, and what torch itself counts?"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tabwright.cli import main as tabwright
from training.accelerators import recognise
from training.memory import Spread, Work, memory, states_per_parameter
from training.plan import Cluster, daly_seconds, usual_spreads, young_seconds
from training.shape import Shape

SMALL = Shape(hidden=64, layers=3, heads=4, kv_heads=2, inner=176, vocab=300)
# Llama 3.1 8B (arXiv 2407.21783, table 3); its report says 8 B parameters, the model card 8.03 B.
LLAMA_8B = Shape(4096, 32, 32, 8, 14_336, 128_256, tied=False)


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert tabwright(["train", "plan", *words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize(
    ("parameters", "tokens", "gpus", "tflops", "days"),
    [("175e9", "300e9", 1024, 140, 34), ("1.008e12", "450e9", 3072, 163, 84)],
)
def test_the_days_of_two_published_runs(
    capsys: pytest.CaptureFixture[str],
    parameters: str, tokens: str, gpus: int, tflops: int, days: int,
) -> None:  # fmt: skip
    words = ["--parameters", parameters, "--tokens", tokens, "--gpus", str(gpus), "--gpu", "a100"]
    told = plan(capsys, *words, "--tflops", str(tflops), "--recompute")
    assert round(told["seconds"] / 86_400) == days
    without = plan(capsys, *words, "--tflops", str(tflops))
    assert without["seconds"] == pytest.approx(told["seconds"] * 6 / 8)


def test_a_known_model_has_its_known_size() -> None:
    assert round(LLAMA_8B.parameters / 1e9, 2) == 8.03
    assert LLAMA_8B.multiplied == LLAMA_8B.parameters - 128_256 * 4096


def llama(shape: Shape) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=128,
        tie_word_embeddings=shape.tied,
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(config)


def test_parameters_are_those_that_transformers_counts() -> None:
    assert sum(p.numel() for p in llama(SMALL).parameters()) == SMALL.parameters


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_what_autograd_keeps(precision: str) -> None:
    """A block more keeps exactly what the estimate says of a block."""
    import torch

    rows, context = 2, 64
    kept = []
    for layers in (2, 3):
        shape = Shape(64, layers, 4, 2, 176, 300)
        model = llama(shape)
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        held: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, own: set[int] = own, held: Any = held) -> torch.Tensor:
            place = tensor.untyped_storage().data_ptr()
            if place not in own:
                held[place] = tensor
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            model(input_ids=torch.zeros(rows, context, dtype=torch.int64))
        kept.append(sum(t.untyped_storage().nbytes() for t in held.values()))
        copies = 2 * SMALL.block_matrices if precision == "bf16" else 0
    work = Work(rows, context, precision)  # type: ignore[arg-type]
    two, three = (
        memory(Shape(64, n, 4, 2, 176, 300), Spread("one"), work).activations for n in (2, 3)
    )
    assert kept[1] - kept[0] - copies == three - two


def test_recomputing_keeps_less_and_sharding_holds_less() -> None:
    work = Work(4, 2048)
    cluster = Cluster(gpus=16, tflops=400, memory_gb=80)
    spreads = {spread.name: spread for spread in usual_spreads(LLAMA_8B, cluster)}
    assert list(spreads) == ["ddp", "fsdp", "tp 8", "tp 8 + fsdp", "pp 8", "tp 8 + pp 2"]
    found = {name: memory(LLAMA_8B, spread, work) for name, spread in spreads.items()}
    for one in found.values():
        assert one.total(recompute=True) < one.total(recompute=False)
    assert found["ddp"].weights == 4 * LLAMA_8B.parameters
    assert found["fsdp"].weights == found["ddp"].weights // 16
    held = [found[name].weights for name in ("ddp", "tp 8", "tp 8 + pp 2", "fsdp")]
    assert all(before > after for before, after in pairwise(held))


def test_muon_holds_one_moment_of_the_matrices() -> None:
    assert states_per_parameter(SMALL, "adamw") == 8
    matrices = 3 * SMALL.block_matrices
    expected = 8 - 4 * matrices / SMALL.parameters
    assert states_per_parameter(SMALL, "muon") == pytest.approx(expected)


def test_the_interval_is_the_one_that_loses_least() -> None:
    """Daly's formula against the expected loss itself, minimised by search."""
    write_s, failure_s = 120.0, 36_000.0

    def wall_per_work(interval: float) -> float:
        cycles = math.exp((interval + write_s) / failure_s) - 1
        return failure_s * cycles / interval

    best = min((tau for tau in range(60, 20_000, 10)), key=wall_per_work)
    assert daly_seconds(write_s, failure_s) == pytest.approx(best, rel=0.01)
    assert young_seconds(write_s, failure_s) == pytest.approx(best, rel=0.06)
    assert daly_seconds(3 * failure_s, failure_s) == failure_s


def test_a_config_is_planned_with_memory_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", "tiny", "--gpus", "2", "--mfu", "0.5", "--dollars-per-gpu-hour", "3"]
    told = plan(capsys, *words)
    assert told["tokens"] == 1600 * 16 * 512
    assert told["rate"]["known"] == "given"
    assert told["dollars"] == pytest.approx(3 * told["gpu_hours"])
    assert [fit["spread"]["name"] for fit in told["fits"]] == ["ddp", "fsdp", "tp 2", "pp 2"]
    assert all(fit["fits"] for fit in told["fits"])
    assert tabwright(["train", "plan", *words]) == 0
    text = capsys.readouterr().out
    assert "fsdp" in text
    assert "Daly" in text


def test_a_pipeline_says_how_long_its_ranks_wait(capsys: pytest.CaptureFixture[str]) -> None:
    """Of 4 stages and 8 micro-batches each rank idles in 3 of 11 places."""
    grown = ["--set", "model.layers=8", "--set", "data.batch_rows=32", "--set", "data.micro_rows=2"]
    words = ["--config", "tiny", *grown, "--gpus", "8", "--pp", "4", "--tp", "2"]
    told = plan(capsys, *words)
    fits = {fit["spread"]["name"]: fit for fit in told["fits"]}
    assert fits["ddp"]["bubble"] is None
    assert fits["pp 4"]["bubble"] == pytest.approx(3 / 11)
    assert fits["pp 4"]["bubble_interleaved"] == pytest.approx(3 / 19)
    assert fits["tp 2 + pp 4"]["bubble"] == pytest.approx(3 / 19)
    assert tabwright(["train", "plan", *words]) == 0
    text = capsys.readouterr().out
    assert "27.3%" in text
    assert "pp 4 waits 15.8%" in text
    few = plan(capsys, *words, "--set", "data.micro_rows=16")
    assert {fit["bubble"] for fit in few["fits"]} == {None}


def test_a_model_too_large_for_a_gpu_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    grown = ["--set", "model.layers=64", "--set", "model.hidden_size=8192",
             "--set", "model.heads=64", "--set", "model.kv_heads=8",
             "--set", "model.intermediate_size=28672"]  # fmt: skip
    told = plan(capsys, "--config", "tiny", *grown, "--gpus", "64")
    fits = {fit["spread"]["name"]: fit["fits_recomputed"] for fit in told["fits"]}
    assert not fits["ddp"]
    assert fits["fsdp"]


def test_the_rate_of_a_run_that_was_is_taken(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [{"step": n, "mfu": share} for n, share in enumerate((0.1, 0.4, 0.5), 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "starts.jsonl").write_text(json.dumps({"peak_tflops": 1978.0, "ranks": 2}) + "\n")
    run = {"config": {"parallel": {"recompute": True}}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    told = plan(capsys, "--run", str(tmp_path))
    assert told["rate"]["known"] == "measured"
    assert told["rate"]["tflops"] == pytest.approx(0.4 * 989 * 4 / 3)
    assert tabwright(["train", "plan", "--run", str(tmp_path / "none")]) == 2
    assert "say their MFU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gpus", "0"], "--gpus 0"),
        (["--mfu", "1.5"], "--mfu 1.5"),
        (["--mfu", "nan"], "--mfu nan"),
        (["--tokens", "inf"], "--tokens inf"),
        (["--gpu", "abacus"], "known: b200"),
        (["--parameters", "1e9"], "give --tokens"),
        (["--parameters", "1e9", "--config", "tiny"], "either"),
        (["--tflops", "2000"], "above the peak"),
        (["--gpus", "6", "--tp", "4"], "must divide"),
        (["--pp", "4"], "layers (6)"),
        (["--peak-tflops", "9"], "give both"),
        (["--set", "model.heads=3"], "kv_heads must divide"),
    ],
)
def test_a_wrong_flag_is_named(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert tabwright(["train", "plan", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("driver", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ],
)
def test_a_device_is_recognised_by_what_the_driver_calls_it(driver: str, row: str) -> None:
    found = recognise(driver)
    assert found is not None
    assert found.name == row
    assert recognise("An abacus") is None
