"""Do sources, filters, shards and the loader do what they say?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.config import load_config
from training.data.document import Document
from training.data.infill import Infilling
from training.data.shards import TRAIN, open_shards, read_manifest, write_shards
from training.data.sources import Origin, read_sources
from training.holes import cut_holes
from training.loader import IGNORE, Loader
from training.tokenizer import train_tokenizer


def _module(number: int) -> str:
    rows = [
        f'def function_{number}_{i}(value):\n    """Return {i} times the value."""\n'
        f"    return value * {i} + {number}\n"
        for i in range(12)
    ]
    return "\n\n".join(rows)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    for name, held_out in (("seen", False), ("unseen", True)):
        (root / name / "tests").mkdir(parents=True)
        for number in range(8):
            (root / name / f"module_{number}.py").write_text(_module(number + 100 * held_out))
    (root / "sources.toml").write_text(
        "".join(
            f'[[source]]\nkind = "folder"\nfolder = "{root / name}"\nlicence = "MIT"\n'
            f"held_out = {str(name == 'unseen').lower()}\n"
            for name in ("seen", "unseen")
        )
    )
    return root / "sources.toml"


@pytest.fixture(scope="module")
def shards(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    origins = read_sources(sources)
    train_tokenizer([_module(0)], 600, folder / "tokenizer.json")
    write_shards(origins, folder / "tokenizer.json", folder / "shards")
    return folder / "shards"


def _loader(shards: Path, seed: int = 0, context: int = 128) -> Loader:
    tokenizer = Tokenizer.from_file(shards / "tokenizer.json")
    fim = FimFormat.bind("tabwright", tokenizer)
    infilling = Infilling(tokenizer, fim, 0.5, 0.5, 0.5)
    return Loader(open_shards(shards, TRAIN), infilling, context=context, seed=seed)


def _document(text: str, path: str = "a.py") -> Document:
    return Document(text, path, "here", "MIT", "python")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", "short"),
        ("a = 1\n" * 3 + "x" * 2000, "long_lines"),
        ("((((\n" * 9, "symbols"),
        ("# This file is auto-generated.\n" + "a = 1\n" * 5, "generated"),
        ("value = 12345\n" * 30_000, "large"),
        (_module(1), None),
    ],
)
def test_each_filter_names_its_reason(text: str, reason: str | None) -> None:
    assert _document(text).reason_to_drop() == reason


def test_equal_files_are_kept_once_and_counted(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(_module(1))
    files = tuple(sorted(tmp_path.glob("*.py")))
    train_tokenizer([_module(1)], 600, tmp_path / "tokenizer.json")
    origin = Origin("here", "MIT", tmp_path, files)
    manifest = write_shards([origin], tmp_path / "tokenizer.json", tmp_path / "shards")
    assert manifest["splits"]["train"]["documents"] == 1
    assert manifest["dropped"] == {"duplicate": 1}


def test_held_out_projects_never_reach_the_training_split(shards: Path) -> None:
    assert {e.source for s in open_shards(shards, TRAIN) for e in s.entries} == {"seen"}
    assert read_manifest(shards)["splits"]["held_out"]["documents"] >= 8


def test_a_flipped_byte_in_a_shard_is_refused(shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in shards.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    victim = next(copy.glob("train-*.npy"))
    body = bytearray(victim.read_bytes())
    body[-1] ^= 1
    victim.write_bytes(body)
    with pytest.raises(CorruptArtifact, match=victim.name):
        open_shards(copy, TRAIN)


def test_existing_output_is_never_overwritten(sources: Path, shards: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        write_shards(read_sources(sources), shards / "tokenizer.json", shards)


def test_a_missing_source_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sources.toml"
    file.write_text('[[source]]\nkind = "folder"\nfolder = "nowhere"\nlicence = "MIT"\n')
    with pytest.raises(ConfigError, match="nowhere"):
        read_sources(file)


def test_packages_without_a_permissive_licence_are_passed_over(tmp_path: Path) -> None:
    for name, licence in (("free", "MIT"), ("copyleft", "GPL-3.0-only"), ("silent", "")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        line = f"License-Expression: {licence}\n" if licence else ""
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{line}"
        )
        info.joinpath("RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/METADATA,,\n")
        tmp_path.joinpath(f"{name}.py").write_text(_module(1))
    file = tmp_path / "sources.toml"
    file.write_text(f'[[source]]\nkind = "packages"\nfolder = "{tmp_path}"\n')
    assert [origin.name for origin in read_sources(file)] == ["free==1.0"]


def test_batches_depend_on_seed_and_step_alone(shards: Path) -> None:
    fresh, used = _loader(shards), _loader(shards)
    for step in range(3):
        used.batch(step, 4)
    assert np.array_equal(fresh.batch(3, 4).inputs_BT, used.batch(3, 4).inputs_BT)
    assert np.array_equal(fresh.batch(1, 4).targets_BT, used.batch(1, 4).targets_BT)
    assert not np.array_equal(fresh.batch(3, 4).inputs_BT, _loader(shards, 1).batch(3, 4).inputs_BT)


def test_ranks_share_out_exactly_the_global_batch(shards: Path) -> None:
    loader = _loader(shards)
    whole = loader.batch(2, 4).inputs_BT
    halves = [loader.batch(2, 4, rank, 2).inputs_BT for rank in range(2)]
    assert np.array_equal(whole[0::2], halves[0])
    assert np.array_equal(whole[1::2], halves[1])


def test_going_back_to_an_earlier_epoch_gives_its_rows_again(shards: Path) -> None:
    loader = _loader(shards)
    first = loader.batch(0, 4).inputs_BT
    far = loader.rows() // 2 + 1
    loader.batch(far, 4)
    assert np.array_equal(loader.batch(0, 4).inputs_BT, first)


def test_targets_are_the_inputs_moved_by_one_and_padding_has_no_loss(shards: Path) -> None:
    rows = _loader(shards).batch(0, 8)
    kept = rows.targets_BT[:, :-1] != IGNORE
    assert np.array_equal(rows.targets_BT[:, :-1][kept], rows.inputs_BT[:, 1:][kept])
    assert kept.mean() > 0.7


def test_holes_are_cut_from_held_out_files_and_end_at_the_line(shards: Path) -> None:
    holes = list(cut_holes(shards, 20))
    assert len(holes) == 20
    for hole in holes:
        assert hole.suffix.startswith("\n")
        assert "\n" not in hole.middle
        assert hole.source == "unseen" or "module" in hole.path


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("data.context=99999", "max_positions"),
        ("data.fim_rate=2", "data.fim_rate"),
        ("model.width=3", "model.width"),
        ("schedule.steps=-1", "schedule.steps"),
        ("nonsense", "section.field=value"),
    ],
)
def test_a_wrong_override_is_refused_by_name(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config("tiny", [override])


def test_every_bundled_config_loads() -> None:
    for name in ("tiny", "tiny-long", "tiny-short"):
        assert load_config(name).model.max_positions >= 1024
    with pytest.raises(ConfigError, match="known: "):
        load_config("enormous")
