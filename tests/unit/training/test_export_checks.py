"""Every check of an export finds the fault that it is there for, and lets a good export pass."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tabwright.artifact import write_json
from tabwright.errors import CorruptArtifact, TabwrightError, ValidationFailed
from tests.fakes import tensorrt_llm as fake_llm
from tests.fakes.foreign_checkpoint import make_foreign_checkpoint
from tests.fakes.tiny_artifact import write_safetensors
from training.export.checks import check_config, check_logits, check_tokenizer
from training.export.container_checks import check_container_reader
from training.export.container_python import container_python
from training.export.finished import Finished
from training.export.folder_checks import (
    check_description,
    check_json,
    check_tensors,
    check_yaml,
)
from training.export.manifest import check_export
from training.export.repository import TENSORRT_LLM, Serving
from training.export.source import read_source
from training.export.tensorrt_llm import export_model
from training.export.validation import CHECKS, run_checks

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.needs("torch")
NAME = "mine"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A Llama with a rotary base that is not the default, which a reader might fall back to."""
    folder = tmp_path_factory.mktemp("good")
    checkpoint = make_foreign_checkpoint(folder / "llama", "LlamaForCausalLM")
    export_model(checkpoint, folder / "1", family="granite", name=NAME)
    source = read_source(checkpoint, family="granite", name=NAME)
    return Finished(source, folder / "1", TENSORRT_LLM, Serving(max_context=source.max_context))


@pytest.fixture
def copied(good: Finished, tmp_path: Path) -> Finished:
    return replace(good, folder=Path(shutil.copytree(good.folder, tmp_path / "1")))


def read(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return value


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def config(**values: Any) -> Callable[[Finished], None]:
    def plant(export: Finished) -> None:
        file = export.checkpoint / "config.json"
        write_json(file, read(file) | values)

    return plant


def without(*keys: str) -> Callable[[Finished], None]:
    def plant(export: Finished) -> None:
        file = export.checkpoint / "config.json"
        write_json(file, {k: v for k, v in read(file).items() if k not in keys})

    return plant


def other(name: str, **values: Any) -> Callable[[Finished], None]:
    def plant(export: Finished) -> None:
        file = export.checkpoint / f"{name}.json"
        write_json(file, read(file) | values)

    return plant


def pbtxt(old: str, new: str) -> Callable[[Finished], None]:
    return lambda export: edit(export.model / "config.pbtxt", old, new)


def model_yaml(old: str, new: str) -> Callable[[Finished], None]:
    return lambda export: edit(export.model / "1" / "model.yaml", old, new)


def serve_yaml(old: str, new: str) -> Callable[[Finished], None]:
    return lambda export: edit(export.folder / "trtllm-serve.yaml", old, new)


def weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Finished], None]:
    def plant(export: Finished) -> None:
        from safetensors.torch import load_file, save_file

        file = export.checkpoint / "model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    return plant


def poisoned(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"][3] = float("nan")


def swapped(tensors: dict[str, Any]) -> None:
    one, two = (f"model.layers.0.self_attn.{kind}_proj.weight" for kind in "kv")
    tensors[one], tensors[two] = tensors[two].clone(), tensors[one].clone()


def widened(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()


def longer(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].repeat(2)


def renamed(tensors: dict[str, Any]) -> None:
    tensors["model.final.weight"] = tensors.pop("model.norm.weight")


def joined_spaces(export: Finished) -> None:
    splitter = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    file = export.checkpoint / "tokenizer.json"
    write_json(file, read(file) | {"pre_tokenizer": splitter | {"use_regex": True}})


def lost_sentinel(export: Finished) -> None:
    edit(export.checkpoint / "tokenizer.json", "<fim_middle>", "<fim_muddle>")


def flipped_byte(export: Finished) -> None:
    file = export.checkpoint / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


def manifest(**values: Any) -> Callable[[Finished], None]:
    def plant(export: Finished) -> None:
        write_json(export.folder / "manifest.json", read(export.folder / "manifest.json") | values)

    return plant


def no_lineage(export: Finished) -> None:
    file = export.folder / "manifest.json"
    write_json(file, {key: value for key, value in read(file).items() if key != "lineage"})


def whole(export: Finished) -> dict[str, Any]:
    return check_export(export.folder)


@dataclass(frozen=True)
class Fault:
    plant: Callable[[Finished], None]
    check: Callable[[Finished], dict[str, Any]]
    says: str
    error: type[TabwrightError] = ValidationFailed
    tensor_parallel: int = 1


KV, TWO_ENDS = "num_key_value_heads", "data_type: TYPE_INT32\n  dims: [ -1 ]\n  optional: true"
LISTED = {"extra_special_tokens": ["<fim_pad>"]}
FAULTS = {
    # 1: config.pbtxt
    "a wrong type": Fault(
        pbtxt("TYPE_UINT64", "TYPE_INT64"), check_description, "input seed is .*INT64"
    ),
    "an unknown type": Fault(
        pbtxt("TYPE_UINT64", "TYPE_SEED"), check_description, "could not read it"
    ),
    "a hole left in": Fault(
        pbtxt("max_batch_size: 0", "max_batch_size: ${size}"), check_description, "could not read"
    ),
    "a batch": Fault(
        pbtxt("max_batch_size: 0", "max_batch_size: 8"), check_description, "max_batch_size is 8"
    ),
    "no streaming": Fault(
        pbtxt("decoupled: true", "decoupled: false"), check_description, "decoupled is False"
    ),
    "a tensor renamed": Fault(
        pbtxt('"input_ids"', '"input_tokens"'), check_description, "input_ids is None"
    ),
    "a tensor required": Fault(
        pbtxt(TWO_ENDS, TWO_ENDS.replace("true", "false")), check_description, "is required"
    ),
    "another version": Fault(
        pbtxt('"1.2.1"', '"1.1.0"'), check_description, "llm_version is '1.1.0'"
    ),
    # 2: yaml
    "an unknown key": Fault(
        model_yaml("max_seq_len", "max_seq_length"), check_yaml, "max_seq_length is unknown"
    ),
    "an unknown key inside": Fault(
        model_yaml("enable_block_reuse", "block_reuse"), check_yaml, "block_reuse is unknown"
    ),
    "a value of another kind": Fault(
        model_yaml("max_batch_size: 64", 'max_batch_size: "64"'), check_yaml, "'64' is not int"
    ),
    "foreign code allowed": Fault(
        model_yaml("trust_remote_code: false", "trust_remote_code: true"), check_yaml, "trust_remot"
    ),
    "another checkpoint": Fault(
        model_yaml("../../../checkpoint", "../../checkpoint"), check_yaml, "not to checkpoint"
    ),
    "an unknown key for trtllm-serve": Fault(
        serve_yaml("dtype", "data_type"), check_yaml, "trtllm-serve.yaml: data_type is unknown"
    ),
    # 3: the same model to every reader
    "other ids": Fault(joined_spaces, check_tokenizer, "other ids"),
    "a sentinel of another id": Fault(lost_sentinel, check_tokenizer, "sentinel '<fim_middle>'"),
    "weights swapped": Fault(weights(swapped), check_logits, "logits of the exported"),
    "a weight not finite": Fault(weights(poisoned), check_logits, "logits of the exported"),
    "a tensor lost": Fault(weights(renamed), check_logits, r"model\.norm\.weight"),
    "a rotary base in one spelling": Fault(config(rope_theta=500.0), check_config, "key sets"),
    # 4: architecture and tensors
    "an unsupported architecture": Fault(
        config(architectures=["GPTBigCodeForCausalLM"]), check_json, "GPTBigCode.* not exported"
    ),
    "heads that do not divide": Fault(config(), check_json, f"{KV} 2 is not", tensor_parallel=4),
    "no rotary key of 4.57": Fault(without("rope_theta"), check_json, "lacks rope_theta"),
    "no rotary key of 5": Fault(without("rope_parameters"), check_json, "lacks rope_parameters"),
    "no sentinel": Fault(lost_sentinel, check_json, "lacks the sentinel '<fim_middle>'"),
    "one stop id": Fault(
        other("generation_config", eos_token_id=0), check_json, "must be a list of all stops"
    ),
    "a stop id missing": Fault(
        other("generation_config", eos_token_id=[1]), check_json, "eos_token_id lacks"
    ),
    "special tokens as 5 lists them": Fault(
        other("tokenizer_config", **LISTED), check_json, "extra_special_tokens"
    ),
    "a tokenizer class of 5": Fault(
        other("tokenizer_config", tokenizer_class="TokenizersBackend"), check_json, "of 5.x only"
    ),
    "a tensor in float32": Fault(weights(widened), check_tensors, "is F32, not BF16"),
    "a tensor of another shape": Fault(weights(longer), check_tensors, "has shape"),
    "a tensor too many": Fault(weights(renamed), check_tensors, "final.weight is not the source's"),
    # 8: the manifest
    "a flipped byte": Fault(flipped_byte, whole, "safetensors is altered", CorruptArtifact),
    "no lineage": Fault(no_lineage, whole, "lacks lineage", CorruptArtifact),
    "the latest container": Fault(
        manifest(container={"tag": "tritonserver:latest", "digest": None}), whole, "latest",
        CorruptArtifact,
    ),
    "a container by half a digest": Fault(
        manifest(container={"tag": "tritonserver:26.07", "digest": "sha256:12"}), whole,
        "64 hex digits", CorruptArtifact,
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(copied: Finished, fault: Fault) -> None:
    serving = replace(copied.serving, tensor_parallel=fault.tensor_parallel)
    export = replace(copied, serving=serving)
    fault.plant(export)
    with pytest.raises(fault.error, match=fault.says):
        fault.check(export)


def test_every_check_has_a_fault_and_passes_a_good_export(good: Finished) -> None:
    assert {*CHECKS, whole} == {fault.check for fault in FAULTS.values()}
    run_checks(good)
    whole(good)


# The transformers of NVIDIA's container.


def unloaded(tensors: dict[str, Any]) -> None:
    tensors["model.renamed.weight"] = tensors.pop("model.layers.0.self_attn.q_proj.weight")


def lowered(export: Finished) -> None:
    file = export.checkpoint / "tokenizer.json"
    write_json(file, read(file) | {"normalizer": {"type": "Lowercase"}})


# Each starts a process that imports torch, so they are few, and fewer in everyday work.
READER_FAULTS = [
    pytest.param(without("rope_theta"), "computes another model", id="a rotary base in one key"),
    pytest.param(other("tokenizer_config", **LISTED), "reader failed", id="tokens as 5 lists them"),
    pytest.param(lowered, "has other ids", id="other ids", marks=pytest.mark.slow),
    pytest.param(weights(unloaded), "missing or unknown", id="lost", marks=pytest.mark.slow),
]


@pytest.mark.needs("container-python")
def test_the_transformers_of_the_container_reads_the_same_model(good: Finished) -> None:
    told = check_container_reader(replace(good, reader=container_python()))
    assert told["transformers"] == "4.57.3"
    assert told["difference"] <= 1e-4


@pytest.mark.needs("container-python")
@pytest.mark.parametrize(("plant", "says"), READER_FAULTS)
def test_a_fault_is_found_by_the_transformers_of_the_container(
    copied: Finished, plant: Callable[[Finished], None], says: str
) -> None:
    plant(copied)
    with pytest.raises(ValidationFailed, match=says):
        check_container_reader(replace(copied, reader=container_python()))


# 7: the names that are used of TensorRT-LLM.


def loaded(file: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def smoke(good: Finished) -> Any:
    return loaded(good.folder / "smoke_gpu.py", "smoke_gpu")


def test_the_stand_in_has_exactly_the_names_that_the_smoke_run_asserts(smoke: Any) -> None:
    targets: dict[str, Callable[..., Any]] = {
        "generate_async": fake_llm.LLM.generate_async,
        "get_stats_async": fake_llm.LLM.get_stats_async,
        "LoRARequest": fake_llm.LoRARequest,
        "SamplingParams": fake_llm.SamplingParams,
    }
    assert smoke.USED.keys() == targets.keys()
    for name, target in targets.items():
        names = {*inspect.signature(target).parameters} - {"self", "lora_ckpt_source"}
        assert names == {*smoke.USED[name]}, name


@pytest.mark.parametrize("lost", ["streaming", "lora_request"])
def test_a_name_that_the_package_lost_ends_the_smoke_run(
    smoke: Any, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    class Other(fake_llm.LLM):
        pass

    kept = [
        p for n, p in inspect.signature(fake_llm.LLM.generate_async).parameters.items() if n != lost
    ]
    changed = ModuleType("changed")
    changed.LLM, changed.SamplingParams = Other, fake_llm.SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "changed", changed)
    monkeypatch.setitem(sys.modules, "changed.executor", fake_llm)

    def generate_async(*_given: object) -> None: ...

    generate_async.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    monkeypatch.setattr(Other, "generate_async", generate_async)
    with pytest.raises(AssertionError, match=f"generate_async has no parameter {lost}"):
        smoke.check_signatures(changed, {"lora_module": "changed.executor"})


def test_the_smoke_run_wants_to_know_which_image_it_runs_in(smoke: Any) -> None:
    with pytest.raises(AssertionError, match="--container-digest"):
        smoke.check_container({"container": {"tag": "tritonserver:26.07", "digest": None}})


# Refusals that need a checkpoint of their own are in test_export.py; a NaN in the source too.


def test_a_weight_that_is_not_finite_never_reaches_a_folder(good: Finished, tmp_path: Path) -> None:
    source = Path(shutil.copytree(good.source.path, tmp_path / "llama"))
    write_safetensors(
        source / "more.safetensors", {"x": np.full((2, 2), np.nan, np.float32)}, "F32"
    )
    with pytest.raises(CorruptArtifact, match="not finite"):
        export_model(source, tmp_path / "out", family="granite")
    assert not (tmp_path / "out").exists()
