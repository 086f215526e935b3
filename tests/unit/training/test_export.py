"""Exports: what is written, that it is the model that was read, and what is refused beforehand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tabwright.artifact import ModelArtifact, file_digest, write_json
from tabwright.cli import main as tabwright
from tabwright.errors import ConfigError, CorruptArtifact, TabwrightError
from tabwright.tensors import INPUTS, OUTPUTS
from tests.fakes.foreign_checkpoint import FAMILY_OF, make_foreign_checkpoint
from tests.fakes.tiny_artifact import make_tiny_artifact, write_safetensors
from training.export.manifest import CONTAINER_TAG, check_export
from training.export.portable import portable_config
from training.export.source import ARCHITECTURES
from training.export.tensorrt_llm import export_model

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.needs("torch")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    return make_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny")


@pytest.fixture(scope="module")
def exported(artifact: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "tiny" / "1"
    export_model(artifact.path, out)
    return out


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("checkpoints")

    def made(architecture: str) -> Path:
        folder = root / architecture
        return folder if folder.exists() else make_foreign_checkpoint(folder, architecture)

    return made


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


def change(path: Path, **values: Any) -> None:
    write_json(path, read(path) | values)


def test_the_folder_has_every_part(exported: Path) -> None:
    files = {f.relative_to(exported).as_posix() for f in exported.rglob("*") if f.is_file()}
    model = "model_repository/tiny"
    names = ("config", "fim", "generation_config", "manifest", "tokenizer", "tokenizer_config")
    assert files == {
        *("manifest.json", "fim.json", "reference.json", "trtllm-serve.yaml", "smoke_gpu.py"),
        *(f"{model}/config.pbtxt", f"{model}/1/model.py", f"{model}/1/model.yaml"),
        *(f"checkpoint/{name}.json" for name in names),
        *("checkpoint/special_tokens_map.json", "checkpoint/model.safetensors"),
    }


def test_the_manifest_has_digests_versions_lineage_and_what_was_checked(
    exported: Path, artifact: ModelArtifact
) -> None:
    manifest = check_export(exported)
    assert manifest["files"]["checkpoint/model.safetensors"] == file_digest(
        exported / "checkpoint" / "model.safetensors"
    )
    assert manifest["container"] == {"tag": CONTAINER_TAG, "digest": None}
    assert manifest["versions"]["runtime"] == {"tensorrt_llm": "1.2.1", "transformers": "4.57.3"}
    assert manifest["source"]["digest"] == artifact.digest
    assert manifest["lineage"]["seed"] == 0
    assert manifest["validation"]["level"] == "cpu-contract"
    assert [check["name"] for check in manifest["validation"]["checks"]] == [
        *("config.pbtxt", "yaml", "json", "tensors"),
        *("tokenizer parity", "logit parity", "config in both key sets"),
    ]


def test_the_checkpoint_is_an_artifact_that_the_gateway_loads(
    exported: Path, artifact: ModelArtifact
) -> None:
    checkpoint = ModelArtifact.load(exported / "checkpoint")
    assert checkpoint.fim == artifact.fim
    assert checkpoint.max_context == artifact.max_context
    assert checkpoint.digest == read(exported / "manifest.json")["checkpoint_digest"]


def test_generation_ends_at_every_stop_id(exported: Path, artifact: ModelArtifact) -> None:
    told = read(exported / "checkpoint" / "generation_config.json")
    assert set(artifact.fim.stop_ids) <= set(told["eos_token_id"])


@pytest.mark.parametrize("path", ["checkpoint/model.safetensors", "fim.json", "smoke_gpu.py"])
def test_a_flipped_byte_is_found(exported: Path, tmp_path: Path, path: str) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    data = bytearray((copy / path).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / path).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=path):
        check_export(copy)


def test_a_file_too_many_or_too_few_is_found(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    (copy / "checkpoint" / "more.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match="not listed"):
        check_export(copy)
    (copy / "checkpoint" / "more.json").unlink()
    (copy / "fim.json").unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        check_export(copy)


def test_a_folder_that_cannot_be_written_is_refused(
    artifact: ModelArtifact, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        export_model(artifact.path, tmp_path / "file" / "1")


def test_an_existing_folder_is_not_overwritten(exported: Path, artifact: ModelArtifact) -> None:
    before = check_export(exported)
    with pytest.raises(ConfigError, match="exists"):
        export_model(artifact.path, exported)
    assert check_export(exported) == before


def test_a_failing_export_leaves_nothing_behind(
    artifact: ModelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        export_model(artifact.path, tmp_path / "out", validate=False)
    assert list(tmp_path.iterdir()) == []


def test_without_the_checks_the_manifest_says_so(artifact: ModelArtifact, tmp_path: Path) -> None:
    manifest = export_model(artifact.path, tmp_path / "out", validate=False)
    assert manifest["validation"]["level"] == "digests"
    assert not (tmp_path / "out" / "reference.json").exists()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_other_checkpoints_become_exports_with_the_same_logits(
    checkpoints: Callable[[str], Path], tmp_path: Path, architecture: str
) -> None:
    out = tmp_path / "out"
    manifest = export_model(checkpoints(architecture), out, family=FAMILY_OF[architecture])
    checks = {check["name"]: check for check in manifest["validation"]["checks"]}
    assert checks["logit parity"]["difference"] <= 1e-4
    assert checks["logit parity"]["rounding"] > 0  # these were saved in float32
    config = read(out / "checkpoint" / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 77_000.0
    assert ModelArtifact.load(out / "checkpoint").fim.family.name == FAMILY_OF[architecture]


def test_shards_keep_their_names_and_get_an_index(tmp_path: Path) -> None:
    source = make_tiny_artifact(tmp_path / "tiny", shards=3, tied=False)
    out = tmp_path / "out"
    export_model(source.path, out)
    index = read(out / "checkpoint" / "model.safetensors.index.json")
    assert sorted(set(index["weight_map"].values())) == [f.name for f in source.weight_files]


@pytest.mark.parametrize(
    "old",
    [
        {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}},
    ],
    ids=["4.57", "5"],
)
def test_rotary_settings_are_written_in_both_spellings(old: dict[str, Any]) -> None:
    config = portable_config(old)
    assert config["rope_theta"] == 5e5
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    assert config["rope_parameters"] == {
        "rope_type": "linear",
        "factor": 2.0,
        "rope_theta": 5e5,
    }
    assert portable_config(config) == config


# Refusals: before anything is written, and by name.


def refused(
    tmp_path: Path, source: Path, error: type[TabwrightError], text: str, **more: Any
) -> None:
    out = tmp_path / "not" / "made" / "1"
    with pytest.raises(error, match=text):
        export_model(source, out, **more)
    assert not (tmp_path / "not").exists()


@pytest.fixture
def llama(checkpoints: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints("LlamaForCausalLM"), tmp_path / "llama"))


def test_an_unknown_architecture_is_refused(llama: Path, tmp_path: Path) -> None:
    change(llama / "config.json", architectures=["GPT2LMHeadModel"])
    refused(tmp_path, llama, ConfigError, "GPT2LMHeadModel is not exported", family="granite")


def test_a_quantised_checkpoint_is_refused(llama: Path, tmp_path: Path) -> None:
    change(llama / "config.json", quantization_config={"quant_method": "fp8"})
    refused(tmp_path, llama, ConfigError, "quantised already", family="granite")


def test_a_missing_sentinel_is_refused(llama: Path, tmp_path: Path) -> None:
    refused(tmp_path, llama, ConfigError, "lacks the sentinel", family="deepseek-coder")


def test_a_checkpoint_without_a_family_is_refused(llama: Path, tmp_path: Path) -> None:
    refused(tmp_path, llama, ConfigError, "--family")


def test_a_tokenizer_that_changes_text_is_refused(llama: Path, tmp_path: Path) -> None:
    change(llama / "tokenizer.json", normalizer={"type": "NFKC"})
    refused(tmp_path, llama, ConfigError, "comes back as", family="granite")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_refused(llama: Path, tmp_path: Path, value: float) -> None:
    bad = np.ones((4, 4), np.float32)
    bad[2, 3] = value
    write_safetensors(llama / "more.safetensors", {"model.extra.weight": bad}, "F32")
    refused(tmp_path, llama, CorruptArtifact, "model.extra.weight .* not finite", family="granite")


def test_heads_that_do_not_divide_are_refused(llama: Path, tmp_path: Path) -> None:
    refused(
        tmp_path, llama, ConfigError, "num_key_value_heads 2 is not divis", family="granite",
        tensor_parallel=4,
    )  # fmt: skip


def test_a_wrong_container_digest_is_refused(artifact: ModelArtifact, tmp_path: Path) -> None:
    refused(tmp_path, artifact.path, ConfigError, "64 hex digits", container_digest="sha256:1")


def test_an_altered_artifact_is_refused(artifact: ModelArtifact, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    change(copy / "config.json", rms_norm_eps=1e-3)
    refused(tmp_path, copy, CorruptArtifact, "config.json was altered")


# The command, and which version is served.


def test_the_command_exports_activates_and_goes_back(
    artifact: ModelArtifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["export", "--artifact", str(artifact.path), "--no-validate", "--activate", "--out"]
    for number in ("1", "2"):
        assert tabwright([*line, str(tmp_path / number)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["current"], told["validation"]) == ("2", "digests")
    assert (tmp_path / "current").resolve().name == "2"
    back = ["export", "--rollback", "--out", str(tmp_path)]
    assert tabwright(back) == 0
    assert (tmp_path / "current").resolve().name == "1"
    assert tabwright(back) == 0
    assert (tmp_path / "current").resolve().name == "2"
    assert tabwright(["export", "--activate", "--out", str(tmp_path / "1")]) == 0
    assert (tmp_path / "current").resolve().name == "1"


def test_an_altered_export_is_not_activated(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "1"))
    (copy / "fim.json").write_text("{}")
    assert tabwright(["export", "--activate", "--out", str(copy)]) == 4
    assert not (tmp_path / "current").exists()


def test_the_digest_of_the_container_is_filled_in_once(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "1"))
    line = ["export", "--out", str(copy), "--container-digest"]
    assert tabwright([*line, "sha256:" + "a" * 64]) == 0
    assert check_export(copy)["container"]["digest"] == "sha256:" + "a" * 64
    assert tabwright([*line, "sha256:" + "b" * 64]) == 2
    assert tabwright([*line, "latest"]) == 2
    assert check_export(copy)["container"]["digest"] == "sha256:" + "a" * 64


def test_what_cannot_be_served_is_not_activated(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert tabwright(["export", "--activate", "--out", str(tmp_path / "1")]) == 2
    assert tabwright(["export", "--rollback", "--out", str(tmp_path)]) == 2
    assert tabwright(["export", "--out", str(tmp_path / "1")]) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "1"]


def test_the_page_has_the_table_of_tensors() -> None:
    page = (ROOT / "model_repository" / "README.md").read_text("utf-8")
    for row in (*INPUTS, *OUTPUTS):
        length = "any" if row.length < 0 else row.length
        assert f"| `{row.name}` | {row.dtype} | {length} | {row.meaning} |" in page
