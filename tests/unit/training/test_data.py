"""Do sources, filters, shards and the loader do what they say?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabwright.cli import main
from tabwright.errors import ConfigError, CorruptArtifact
from training.config import DataSection, load_config
from training.data.config import DataConfig, StdlibSource, read_config
from training.data.document import Document
from training.data.engines.local import open_engine
from training.data.minhash import _mix, family, jaccard, shingles, signature, words
from training.data.pipeline import build
from training.data.reading import read_text
from training.data.remote import local_copy
from training.data.run import open_run
from training.data.shards import TRAIN, open_shards, read_manifest
from training.data.sources import walk
from training.data.tagging import prepare
from training.holes import cut_holes
from training.loader import IGNORE, Loader
from training.reading import open_loader


def _module(number: int) -> str:
    rows = [
        f'def function_{number}_{i}(value):\n    """Return {i} times the value."""\n'
        f"    return value * {i} + {number}\n"
        for i in range(12)
    ]
    return "\n\n".join(rows)


def _build(folder: Path, config: str) -> dict[str, Any]:
    file = folder / "data.toml"
    file.write_text(config)
    with open_engine(workers=1) as engine:
        return build(engine, open_run(folder / "run", read_config(file)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    config = "[tokenizer]\nvocab_size = 600\n[dedup]\nnear = false\n"
    for name, held_out in (("seen", False), ("unseen", True)):
        (root / name).mkdir()
        for number in range(8):
            (root / name / f"module_{number}.py").write_text(_module(number + 100 * held_out))
        config += (
            f'[[source]]\nkind = "folder"\nname = "{name}"\nfolder = "{root / name}"\n'
            f'licence = "MIT"\nheld_out = {str(held_out).lower()}\n'
        )
    _build(root, config)
    return root / "run" / "shards"


def _loader(shards: Path, seed: int = 0, context: int = 128) -> Loader:
    data = DataSection(context=context, batch_rows=4, micro_rows=4, seed=seed)
    return open_loader(data, shards, TRAIN)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("x = 1\n", "empty"),
        ("a = 1\n" * 3 + "x" * 2000, "long_lines"),
        ("((((\n" * 9, "symbols"),
        ("# This file is auto-generated.\n" + "a = 1\n" * 5, "generated"),
        ("# SPDX-License-Identifier: GPL-3.0-only\n" + "a = 1\n" * 5, "licence"),
        (_module(1), None),
    ],
)
def test_each_tagger_names_what_it_saw(text: str, tag: str | None) -> None:
    config = DataConfig(source=(StdlibSource(kind="stdlib"),))
    document = Document(text, "a.py", "here", "here", "MIT", "python")
    found = [t.name for tagger in prepare(config.model_dump_json()) for t in tagger(document)]
    assert next(iter(found), None) == tag


def _folder(root: Path, licence: str = "MIT") -> str:
    return (
        f'[[source]]\nkind = "folder"\nname = "here"\nfolder = "{root}"\nlicence = "{licence}"\n'
        "[tokenizer]\nvocab_size = 600\n[splits]\nheld_out_share = 0\n"
    )


def _fates(run: Path) -> dict[str, str | None]:
    """Reason by path."""
    paths = pq.read_table(run / "documents", columns=["key", "path"]).to_pydict()
    reasons = pq.read_table(run / "fates", columns=["key", "reason"]).to_pydict()
    by_key = dict(zip(reasons["key"], reasons["reason"], strict=True))
    return {p: by_key[k] for k, p in zip(paths["key"], paths["path"], strict=True)}


def test_copies_and_near_copies_are_kept_once_and_named(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text(_module(1))
    (code / "b.py").write_text(_module(1) + "\n\n")
    (code / "c.py").write_text(_module(1) + "\n\nVERSION = 2\n")
    (code / "d.py").write_text(
        "import os\n\n" + "".join(f"print(os.{c} + 1)\n" for c in "abcdefgh")
    )
    manifest = _build(tmp_path, _folder(code))
    assert manifest["splits"]["train"]["documents"] == 2
    fates = _fates(tmp_path / "run")
    assert fates == {
        "a.py": None,
        "b.py": "exact_duplicate",
        "c.py": "near_duplicate",
        "d.py": None,
    }


def test_a_run_goes_on_where_it_was_and_gives_the_same_shards(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for number in range(6):
        (code / f"m{number}.py").write_text(_module(number))
    first = _build(tmp_path, _folder(code))
    for name in ("shards", "fates", "clean", "tokens", "groups"):
        shutil.rmtree(tmp_path / "run" / name)
    assert _build(tmp_path, _folder(code))["digest"] == first["digest"]


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "m.py").write_text(_module(1))
    _build(tmp_path, _folder(tmp_path / "code"))
    with pytest.raises(ConfigError, match="another configuration"):
        _build(tmp_path, _folder(tmp_path / "code", "BSD"))


def test_what_git_ignores_is_not_read_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("kept.py", "secret.py"):
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("secret.py\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert [p.name for p in walk(tmp_path)] == [".gitignore", "kept.py"]


@pytest.mark.parametrize(
    ("raw", "text", "tag"),
    [
        (b"\xef\xbb\xbfa = 1\r\n", "a = 1\n", None),
        ("a = 'ä'\n".encode("utf-16"), "a = 'ä'\n", None),
        ("a = 'ä'\n".encode("cp1252"), "a = 'ä'\n", "repaired"),
        (b"\x7fELF\0\0\1", "", "binary"),
        (bytes(range(1, 256)), "", "binary"),
    ],
)
def test_bytes_become_text_or_say_why_not(raw: bytes, text: str, tag: str | None) -> None:
    found = read_text(raw)
    assert found.text == text
    assert [t.name for t in found.tags] == ([tag] if tag else [])


@given(st.lists(st.integers(0, 2000), min_size=40, max_size=300), st.data())
def test_the_signature_estimates_the_jaccard_index(numbers: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(numbers) // 2))
    hashes = family(5, 252, 6)
    left, right = (shingles(" ".join(map(str, n)), 5, hashes) for n in (numbers, numbers[cut:]))
    equal = signature(left, hashes) == signature(right, hashes)
    assert abs(float(equal.mean()) - jaccard(left, right)) < 0.2


@pytest.mark.parametrize("text", ["a bc", "", " ", "x" * 700, "é" * 300 + " b", "word " * 30_000])
def test_a_word_has_the_hash_that_its_bytes_define_wherever_it_stands(text: str) -> None:
    hashes = family(5, 1, 1)
    base = int(hashes.power[0])
    defined = np.array(
        [
            sum(
                int(hashes.byte_code[byte]) * pow(base, at % 256 + 1, 2**64)
                for at, byte in enumerate(word.encode())
            )
            % 2**64
            for word in dict.fromkeys(text.split())
        ],
        dtype=np.uint64,
    )
    found = words(text.encode(), hashes)
    assert len(found) == len(text.split())
    assert np.unique(found).tolist() == np.unique(_mix(defined)).tolist()


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


def test_shards_on_a_store_that_is_no_disk_are_copied_once_and_checked(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(shards), "/bucket/shards", recursive=True)
    command = ["train", "data", "fetch", "--from", "memory://bucket/shards", "--out", str(tmp_path)]
    assert main(command) == 0
    copy = Path(capsys.readouterr().out.strip())
    assert [s.ids.tolist() for s in open_shards(copy, TRAIN)] == [
        s.ids.tolist() for s in open_shards(shards, TRAIN)
    ]
    victim = next(copy.glob("train-*.npy"))
    before = {file: file.stat().st_mtime_ns for file in copy.iterdir() if file.suffix == ".npy"}
    victim.write_bytes(b"altered")
    assert local_copy("memory://bucket/shards", tmp_path) == copy
    after = {file: file.stat().st_mtime_ns for file in before}
    assert [file for file in before if before[file] != after[file]] == [victim]
    filesystem.pipe(f"/bucket/shards/{victim.name}", b"altered")
    victim.unlink()
    with pytest.raises(CorruptArtifact, match=victim.name):
        local_copy("memory://bucket/shards", tmp_path)
    with pytest.raises(ConfigError, match="memory://nowhere"):
        local_copy("memory://nowhere", tmp_path)
    filesystem.rm("/bucket", recursive=True)


def test_a_missing_source_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        _build(tmp_path, _folder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("[filters]\ndrop = ['nonsense']\n", "nonsense"),
        ("[filters.by_extension.html]\nmax_lin = 3\n", "max_lin"),
        ("[dedup]\nthreshold = 7\n", "dedup.threshold"),
        ("[[source]]\nkind = 'tape'\n", "tape"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(tmp_path: Path, line: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _build(tmp_path, '[[source]]\nkind = "stdlib"\n' + line)


def test_packages_without_a_permissive_licence_are_dropped(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, licence in (("free", "MIT"), ("copyleft", "GPL-3.0-only"), ("silent", "")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        line = f"License-Expression: {licence}\n" if licence else ""
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{line}"
        )
        info.joinpath("RECORD").write_text(f"{name}.py,,\n")
        site.joinpath(f"{name}.py").write_text(_module(len(name)))
    config = f'[[source]]\nkind = "packages"\nfolder = "{site}"\n[tokenizer]\nvocab_size = 600\n'
    _build(tmp_path, config + "[splits]\nheld_out_share = 0\n")
    assert _fates(tmp_path / "run") == {
        "free.py": None, "copyleft.py": "licence", "silent.py": "licence",
    }  # fmt: skip


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
    far = loader.lap_rows() // 2 + 1
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
