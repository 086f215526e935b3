"""The model folder of record: what it refuses to load, and that it is published whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tabwright.artifact import MANIFEST, ModelArtifact, file_digest, folder_digest, write_json
from tabwright.errors import ConfigError, CorruptArtifact
from tests.fakes.tiny_artifact import make_tiny_artifact, write_tiny_checkpoint


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny").path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def publish(source: Path, target: Path, **changes: Any) -> ModelArtifact:
    arguments: dict[str, Any] = {
        "name": "x",
        "family": "tabwright",
        "order": "spm",
        "max_context": 1024,
    }
    arguments |= changes
    return ModelArtifact.save(source, target, lineage={}, validation={}, **arguments)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one JSON file and put its new digest into the manifest, as a careful forger would."""
    value = json.loads(path.read_text())
    change(value)
    write_json(path, value)
    if path.name == MANIFEST:
        return
    rewrite(path.parent / MANIFEST, lambda m: m["files"].update({path.name: file_digest(path)}))


def test_a_saved_artifact_loads_with_what_was_saved(original: Path) -> None:
    artifact = ModelArtifact.load(original)
    assert artifact.name == "tiny"
    assert artifact.max_context == 1024
    assert artifact.lineage["seed"] == 0
    assert [f.name for f in artifact.weight_files] == ["model.safetensors"]
    assert artifact.vocab_size >= artifact.tokenizer.vocab_size
    assert artifact.fim.order == "spm"


def test_equal_contents_have_equal_digests_and_other_weights_another(tmp_path: Path) -> None:
    one, two = (make_tiny_artifact(tmp_path / name, seed=7) for name in ("one", "two"))
    other = make_tiny_artifact(tmp_path / "other", seed=8)
    assert one.digest == two.digest != other.digest


def test_folder_digest_ignores_the_order_of_files() -> None:
    assert folder_digest({"a": "1", "b": "2"}) == folder_digest({"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "config.json", "fim.json", "tokenizer_config.json"],
)
def test_one_flipped_bit_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CorruptArtifact, match=rf"{name} was altered"):
        ModelArtifact.load(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "fim.json", MANIFEST]
)
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        ModelArtifact.load(folder)


def test_an_extra_file_is_refused(folder: Path) -> None:
    (folder / "extra.safetensors").write_bytes(b"")
    with pytest.raises(CorruptArtifact, match=r"extra\.safetensors is not listed"):
        ModelArtifact.load(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="no finished artifact"):
        ModelArtifact.load(tmp_path / "nowhere")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(folder: Path, version: object) -> None:
    rewrite(folder / MANIFEST, lambda m: m.update(schema_version=version))
    with pytest.raises(CorruptArtifact, match="schema_version"):
        ModelArtifact.load(folder)


@pytest.mark.parametrize("files", [None, [], {"config.json": 1}, {}])
def test_a_manifest_without_digests_is_refused(folder: Path, files: object) -> None:
    rewrite(folder / MANIFEST, lambda m: m.update(files=files))
    with pytest.raises(CorruptArtifact):
        ModelArtifact.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(CorruptArtifact, match=MANIFEST):
        ModelArtifact.load(folder)


def test_a_manifest_cannot_reach_outside_its_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_text("x")
    digest = file_digest(outside)
    rewrite(folder / MANIFEST, lambda m: m["files"].update({"../outside": digest}))
    with pytest.raises(CorruptArtifact, match="missing"):
        ModelArtifact.load(folder)


def test_a_wrong_sentinel_id_is_refused(folder: Path) -> None:
    def swap(fim: dict[str, Any]) -> None:
        fim["sentinel_ids"]["<fim_prefix>"] += 1

    rewrite(folder / "fim.json", swap)
    with pytest.raises(CorruptArtifact, match=r"wrong ids for <fim_prefix>"):
        ModelArtifact.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "nobody"},
        {"order": "sideways"},
        {"sentinel_ids": None},
        {"sentinel_ids": {"<fim_prefix>": "x"}},
        {"max_context": None},
        {"max_context": 0},
        {"max_context": 4096},
        {"max_context": "1024"},
    ],
)
def test_a_wrong_fim_file_is_refused(folder: Path, change: dict[str, Any]) -> None:
    rewrite(folder / "fim.json", lambda fim: fim.update(change))
    with pytest.raises(CorruptArtifact, match=r"fim\.json"):
        ModelArtifact.load(folder)


def test_a_tokenizer_without_a_sentinel_is_refused(folder: Path) -> None:
    def forget(tokenizer: dict[str, Any]) -> None:
        for token in tokenizer["added_tokens"]:
            token["special"] = token["content"] != "<fim_suffix>"

    rewrite(folder / "tokenizer.json", forget)
    with pytest.raises(CorruptArtifact, match="<fim_suffix>"):
        ModelArtifact.load(folder)


@pytest.mark.parametrize("rows", [8, None, "640"])
def test_a_model_with_fewer_rows_than_ids_is_refused(folder: Path, rows: object) -> None:
    rewrite(folder / "config.json", lambda config: config.update(vocab_size=rows))
    with pytest.raises(CorruptArtifact, match="ids, the model"):
        ModelArtifact.load(folder)


def test_save_never_overwrites(original: Path, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    before = sorted(f.name for f in original.parent.iterdir())
    with pytest.raises(ConfigError, match="exists"):
        publish(tmp_path, original)
    assert sorted(f.name for f in original.parent.iterdir()) == before
    ModelArtifact.load(original)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_save_refuses_an_incomplete_checkpoint(tmp_path: Path, name: str) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    write_tiny_checkpoint(source)
    (source / name).unlink()
    with pytest.raises(CorruptArtifact, match=rf"checkpoint: missing {name}"):
        publish(source, tmp_path / "target")
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"family": "codellama"}, ConfigError),
        ({"family": "granite", "order": "spm"}, ConfigError),
        ({"max_context": 4096}, CorruptArtifact),
    ],
)
def test_a_failed_save_leaves_nothing_behind(
    tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    write_tiny_checkpoint(source)
    with pytest.raises(error):
        publish(source, tmp_path / "target", **change)
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint"]


def test_save_without_weights_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    write_tiny_checkpoint(source)
    (source / "model.safetensors").unlink()
    with pytest.raises(CorruptArtifact, match="safetensors"):
        publish(source, tmp_path / "target")
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint"]
