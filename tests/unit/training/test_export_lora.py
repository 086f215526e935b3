"""Adapters beside an export: what is shipped, what is refused, and that merging is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tabwright.artifact import ModelArtifact, file_digest, write_json
from tabwright.cli import main as tabwright
from tabwright.errors import ConfigError, CorruptArtifact, TabwrightError, ValidationFailed
from tests.fakes.lora_adapter import LAYER, make_adapter
from tests.fakes.tiny_artifact import make_tiny_artifact, write_safetensors
from training.export.finished import Finished
from training.export.lora import WEIGHTS, read_lora
from training.export.lora_check import check_lora
from training.export.manifest import check_export
from training.export.repository import TENSORRT_LLM, Serving
from training.export.source import Source, read_source
from training.export.tensorrt_llm import export_model

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny")


@pytest.fixture(scope="module")
def source(artifact: ModelArtifact) -> Source:
    return read_source(artifact.path)


def test_adapters_are_shipped_named_and_compared(artifact: ModelArtifact, tmp_path: Path) -> None:
    given = {name: make_adapter(tmp_path / name, seed=s) for s, name in enumerate(["a", "b"])}
    out = tmp_path / "out"
    export_model(artifact.path, out, loras=given)
    manifest = check_export(out)
    assert manifest["loras"]["b"] == {
        "rank": 4,
        "alpha": 8.0,
        "target_modules": ["attn_q", "mlp_4h_to_h"],
        "layers": 2,
        "digest": file_digest(given["b"] / WEIGHTS),
    }
    checks = {check["name"]: check for check in manifest["validation"]["checks"]}
    for name in given:
        told = checks[f"adapter {name}, merged and beside"]
        assert told["difference"] <= 1e-3 < told["effect"]
    folder = out / "model_repository" / "tiny" / "1"
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    for name, path in settings["tabwright"]["loras"].items():
        assert file_digest((folder / path / WEIGHTS).resolve()) == manifest["loras"][name]["digest"]
    assert settings["llm"]["lora_config"] == {
        "lora_target_modules": ["attn_q", "mlp_4h_to_h"],
        "max_lora_rank": 4,
        "max_loras": 2,
        "max_cpu_loras": 2,
    }
    assert "lora_config" not in yaml.safe_load((out / "trtllm-serve.yaml").read_text())


def test_the_command_takes_several_adapters(artifact: ModelArtifact, tmp_path: Path) -> None:
    one, two = (str(make_adapter(tmp_path / name)) for name in ("one", "two"))
    line = ["export", "--artifact", str(artifact.path), "--no-validate", "--out"]
    out = tmp_path / "out"
    assert tabwright([*line, str(out), "--lora", one, "--lora", f"second={two}"]) == 0
    assert check_export(out)["loras"].keys() == {"one", "second"}
    twice = ["--lora", one, "--lora", f"one={two}"]
    assert tabwright([*line, str(tmp_path / "twice"), *twice]) == 2


def config(**values: Any) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        file = folder / "adapter_config.json"
        write_json(file, json.loads(file.read_text()) | values)

    return plant


def tensors(**shapes: tuple[int, int]) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        table = {
            f"base_model.model.{name.replace('__', '.')}.weight": np.ones(shape, np.float32)
            for name, shape in shapes.items()
        }
        write_safetensors(folder / WEIGHTS, table, "F32")

    return plant


def infinite(folder: Path) -> None:
    down = np.full((4, 64), np.inf, np.float32)
    table = {"A": down, "B": np.ones((64, 4), np.float32)}
    named = {f"base_model.model.{LAYER}.q_proj.lora_{k}.weight": v for k, v in table.items()}
    write_safetensors(folder / WEIGHTS, named, "F32")


Q, MLP = "model__layers__0__self_attn__q_proj__lora_", "model__layers__0__mlp__c_fc__lora_"
FAULTS: dict[str, tuple[Callable[[Path], None], type[TabwrightError], str]] = {
    "another kind": (config(peft_type="IA3"), ConfigError, "peft_type 'IA3' is not served"),
    "DoRA": (config(use_dora=True), ConfigError, "use_dora True"),
    "scaled by the root": (config(use_rslora=True), ConfigError, "use_rslora True"),
    "whole layers": (config(modules_to_save=["lm_head"]), ConfigError, "modules_to_save"),
    "a rank too large": (config(r=128), ConfigError, "rank 128"),
    "another rank than its tensors": (config(r=8), ConfigError, r"needs \(8, 64\)"),
    "another base": (
        tensors(**{f"{Q}A": (4, 128), f"{Q}B": (64, 4)}), ConfigError, r"base model needs \(4, 64\)"
    ),
    "a module that is not adapted": (
        tensors(**{f"{MLP}A": (4, 64), f"{MLP}B": (64, 4)}), ConfigError, "c_fc is not adapted"
    ),
    "a layer that is not there": (
        tensors(**{f"{Q.replace('0', '9')}A": (4, 64)}), ConfigError, "base model has no"
    ),
    "half of a pair": (tensors(**{f"{Q}A": (4, 64)}), CorruptArtifact, "half of its pair"),
    "another tensor": (tensors(bias=(4, 4)), ConfigError, "none of a plain LoRA"),
    "a value not finite": (infinite, CorruptArtifact, "not finite"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), CorruptArtifact, "is missing"),
    "no config": (
        lambda f: (f / "adapter_config.json").unlink(), CorruptArtifact, "adapter_config.json"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plant", "kind", "says"), FAULTS.values(), ids=FAULTS)
def test_what_would_not_be_applied_as_it_was_trained_is_refused(
    source: Source,
    tmp_path: Path,
    plant: Callable[[Path], None],
    kind: type[TabwrightError],
    says: str,
) -> None:
    folder = make_adapter(tmp_path / "adapter")
    plant(folder)
    with pytest.raises(kind, match=says):
        read_lora("adapter", folder, source)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x"])
def test_a_name_is_no_path(source: Source, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        read_lora(name, make_adapter(tmp_path / "adapter"), source)


def test_an_adapter_that_changes_nothing_is_found(artifact: ModelArtifact, tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match="adapter dull changes nothing"):
        export_model(artifact.path, tmp_path / "out", loras={"dull": make_adapter(
            tmp_path / "dull", strength=0.0)})  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_was_spoilt_on_the_way_is_found(
    artifact: ModelArtifact, source: Source, tmp_path: Path
) -> None:
    adapter = read_lora("good", make_adapter(tmp_path / "good"), source)
    out = tmp_path / "out"
    export_model(artifact.path, out, validate=False, loras={"good": adapter.path})
    make_adapter(tmp_path / "bad", strength=float("nan"))
    (out / "lora" / "good" / WEIGHTS).write_bytes((tmp_path / "bad" / WEIGHTS).read_bytes())
    export = Finished(source, out, TENSORRT_LLM, Serving(max_context=source.max_context))
    with pytest.raises(ValidationFailed, match="merged and beside the base"):
        check_lora(export, adapter)
