"""Quantised exports: read again, their price in the manifest, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tabwright.artifact import ModelArtifact
from tabwright.cli import main as tabwright
from tabwright.errors import ConfigError, ValidationFailed
from tests.fakes.foreign_checkpoint import make_foreign_checkpoint
from training.export.container_python import container_python
from training.export.dequantization import dequantise, weight_errors
from training.export.manifest import check_export
from training.export.quantization import WEIGHT_ERROR_BOUND, Quantization
from training.export.tensorrt_llm import export_model
from training.export.weights import tensor_table

pytestmark = pytest.mark.needs("torch")
# With weights as large as elsewhere a random model is chaos: bf16 alone would move its loss.
WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "initializer_range": 0.1}
NOWHERE = Path("no-python-is-asked")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide") / "llama"
    return make_foreign_checkpoint(folder, "LlamaForCausalLM", **WIDE)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prompts") / "holes.jsonl"
    names = ("first", "total", "items", "count", "text", "path")
    rows = [
        {"prefix": f"def f({name}):\n    return ", "middle": f"{name} + 1", "suffix": "\n"}
        for name in names
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.slow
@pytest.mark.needs("container-python")
@pytest.mark.parametrize(
    ("method", "algorithm", "stored"),
    [("fp8", "FP8", "F8_E4M3"), ("int4_awq", "W4A16_AWQ", "U8")],
)
def test_a_quantised_export_has_its_price_in_the_manifest(
    wide: Path, prompts: Path, tmp_path: Path, method: str, algorithm: str, stored: str
) -> None:
    out = tmp_path / "out"
    wish = Quantization(method, prompts, container_python(), max_loss_increase=1.0)
    export_model(wide, out, family="granite", quantization=wish)
    told = check_export(out)["validation"]["checks"][-1]
    assert told["name"] == f"quantised to {method}"
    assert told["matrices"] == 14
    assert told["prompts"] == {"calibration": 3, "held_out": 3}
    assert 0.005 < told["weight_error"]["mean"] <= told["weight_error"]["max"]
    assert told["weight_error"]["max"] <= WEIGHT_ERROR_BOUND[method]
    loss = told["loss"]
    assert loss["before"] != loss["after"]  # rounding is seen, and stays small
    assert abs(loss["after"] - loss["before"]) < 0.3
    assert abs(loss["simulated"] - loss["after"]) < 0.1  # two readings of one file
    checkpoint = ModelArtifact.load(out / "checkpoint")
    quantised = json.loads((out / "checkpoint" / "hf_quant_config.json").read_text())
    assert quantised["quantization"]["quant_algo"] == algorithm
    assert checkpoint.config["quantization_config"]["quant_algo"] == algorithm
    assert checkpoint.config["rope_theta"] == 77_000.0
    table = tensor_table(checkpoint.weight_files)
    assert table["model.layers.0.mlp.up_proj.weight"].dtype == stored
    pbtxt = (out / "model_repository" / "llama" / "config.pbtxt").read_text()
    assert checkpoint.digest in pbtxt


@pytest.mark.slow
@pytest.mark.needs("container-python")
def test_a_model_that_loses_too_much_is_not_published(
    wide: Path, prompts: Path, tmp_path: Path
) -> None:
    wish = Quantization("fp8", prompts, container_python(), max_loss_increase=-5.0)
    with pytest.raises(ValidationFailed, match=r"held-out loss .* --max-loss-increase -5\.0"):
        export_model(wide, tmp_path / "out", family="granite", validate=False, quantization=wish)
    assert list(tmp_path.iterdir()) == []


def packed(tmp_path: Path) -> tuple[Path, Path, Any]:
    """A matrix, and the same in INT4 as ModelOpt packs it: two rows a byte, groups of columns."""
    import torch
    from safetensors.torch import save_file

    values = torch.randint(-7, 8, (6, 8), generator=torch.Generator().manual_seed(1))
    scale = torch.rand(6, 2, generator=torch.Generator().manual_seed(2)) + 0.5
    columns = torch.rand(8, generator=torch.Generator().manual_seed(3)) + 0.5
    matrix = values * scale.repeat_interleave(4, 1) * columns
    pairs = (values & 0x0F).reshape(3, 2, 8)
    name = "model.layers.0.mlp.down_proj"
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    save_file({f"{name}.weight": matrix}, tmp_path / "before" / "model.safetensors")
    stored = {
        f"{name}.weight": (pairs[:, 0] | (pairs[:, 1] << 4)).to(torch.uint8),
        f"{name}.weight_scale": scale,
        f"{name}.pre_quant_scale": columns,
    }
    save_file(stored, tmp_path / "after" / "model.safetensors")
    return tmp_path / "before", tmp_path / "after", stored


@pytest.mark.parametrize("fault", [None, "weight_scale", "pre_quant_scale", "weight"])
def test_four_bits_are_read_as_they_were_packed(tmp_path: Path, fault: str | None) -> None:
    from safetensors.torch import save_file

    before, after, stored = packed(tmp_path)
    if fault:
        key = f"model.layers.0.mlp.down_proj.{fault}"
        stored[key] = stored[key] ^ 0x77 if fault == "weight" else stored[key].flip(-1)
        save_file(stored, after / "model.safetensors")
    plain = tmp_path / "plain"
    plain.mkdir()
    save_file(dequantise([after / "model.safetensors"]), plain / "model.safetensors")
    [error] = weight_errors(before, plain, after).values()
    if fault:
        assert error > WEIGHT_ERROR_BOUND["int4_awq"]
    else:
        assert error < 1e-6


def refused(source: Path, tmp_path: Path, says: str, wish: Quantization, **more: Any) -> None:
    out = tmp_path / "not" / "made"
    with pytest.raises(ConfigError, match=says):
        export_model(source, out, family="granite", validate=False, quantization=wish, **more)
    assert not out.exists()


def test_what_cannot_be_quantised_is_refused(wide: Path, prompts: Path, tmp_path: Path) -> None:
    narrow = make_foreign_checkpoint(tmp_path / "narrow", "LlamaForCausalLM")
    wish = Quantization("int4_awq", prompts, NOWHERE)
    refused(narrow, tmp_path, "hidden_size 64 is no multiple of 128; use fp8", wish)
    refused(wide, tmp_path, "known are fp8, int4_awq", Quantization("int3", prompts, NOWHERE))
    refused(wide, tmp_path, "--to local_llm", Quantization("fp8", prompts, NOWHERE), to="local_llm")


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n", '{"prefix": "a", "suffix": ""}\n'])
def test_prompts_that_are_none_are_refused(wide: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "holes.jsonl"
    file.write_text(text)
    refused(wide, tmp_path, "--calibration", Quantization("fp8", file, NOWHERE))


def test_the_command_wants_prompts(wide: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    line = ["export", "--artifact", str(wide), "--family", "granite", "--out", out]
    assert tabwright([*line, "--no-validate", "--quantize", "fp8"]) == 2
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert tabwright([*line, "--no-validate", "--speculate"]) == 0
    assert "is_public_pool: false" in (tmp_path / "out" / "trtllm-serve.yaml").read_text()
