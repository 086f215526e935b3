"""Does a folder give what git would, under the licence that is nearest?"""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from tabwright.cli import main as tabwright
from training.data.config import DataConfig, FolderSource, StdlibSource, TableSource
from training.data.document import Document
from training.data.engines.local import open_engine
from training.data.licence_texts import UNRECOGNISED, recognise
from training.data.pipeline import build
from training.data.run import open_run
from training.data.shards import TRAIN, open_shards
from training.data.sources import list_parts, read_part, walk
from training.data.taggers.licence import prepare

_MIT = """Permission is hereby granted, free of charge, to anybody, to deal in it without
restriction. The above and this permission notice shall be included in all copies."""
_GPL = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n"


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_gitignore_files_count_without_git_and_the_nearest_decides(tmp_path: Path) -> None:
    _write(tmp_path, {
        ".gitignore": "*.log\nbuild/\n/only_here.py\n", "a.py": "", "a.log": "", "only_here.py": "",
        "build/b.py": "", "inner/only_here.py": "", "inner/.gitignore": "!kept.log\nb.py\n",
        "inner/kept.log": "", "inner/b.py": "", "inner/deep/build/c.py": "", "__pycache__/c.py": "",
    })  # fmt: skip
    (tmp_path / "inner" / "loop").symlink_to(tmp_path)
    found = [p.relative_to(tmp_path).as_posix() for p in walk(tmp_path)]
    assert found == [
        ".gitignore", "a.py", "inner/.gitignore", "inner/kept.log", "inner/only_here.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (_MIT, "MIT"),
        (_GPL, "GPL-3.0"),
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("Mozilla Public License Version 2.0", "MPL-2.0"),
        ("Redistribution and use in source and binary forms are fine.", "BSD-2-Clause"),
        ("Redistribution and use in source and binary forms. Neither the name", "BSD-3-Clause"),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1", "LGPL-2.1"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3", "AGPL-3.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("All rights reserved. Nobody may do anything.", UNRECOGNISED),
    ],
)
def test_licence_texts_are_told_apart(text: str, name: str) -> None:
    assert recognise(text) == name


def _licences(root: Path, configured: str) -> dict[str, str]:
    source = FolderSource(kind="folder", name="here", folder=root, licence=configured)
    parts = list_parts(DataConfig(source=(source,)))
    return {f.path: f.licence for part in parts for f in part.files if f.path.endswith(".py")}


def test_the_nearest_licence_file_wins(tmp_path: Path) -> None:
    _write(tmp_path, {
        "LICENSE": _MIT, "a.py": "", "deep/er/b.py": "", "vendor/COPYING": _GPL, "vendor/c.py": "",
        "own/LICENSE.txt": "All rights reserved.", "own/d.py": "",
        "both/LICENSE-MIT": _MIT, "both/LICENSE-APACHE": "Apache License Version 2.0",
        "both/e.py": "", "code/license.py": "", "code/f.py": "",
    })  # fmt: skip
    found = _licences(tmp_path, "")
    assert found == {
        "a.py": "MIT", "deep/er/b.py": "MIT", "vendor/c.py": "GPL-3.0", "own/d.py": UNRECOGNISED,
        "both/e.py": "Apache-2.0 OR MIT", "code/license.py": "MIT", "code/f.py": "MIT",
    }  # fmt: skip
    assert _licences(tmp_path, "LicenseRef-ours")["own/d.py"] == "LicenseRef-ours"
    assert _licences(tmp_path, "LicenseRef-ours")["vendor/c.py"] == "GPL-3.0"


def test_a_header_wins_over_the_repository_and_the_conflict_is_noted() -> None:
    tagger = prepare(DataConfig(source=(StdlibSource(kind="stdlib"),)))
    text = "# SPDX-License-Identifier: {}\nx = 1\n"
    free = Document(text.format("MIT"), "a.py", "r", "s", "GPL-3.0", "python")
    assert [t.name for t in tagger(free)] == ["licence_conflict"]
    held = Document(text.format("GPL-3.0-only"), "a.py", "r", "s", "MIT", "python")
    assert [t.name for t in tagger(held)] == ["licence", "licence_conflict"]


def _commit(folder: Path) -> str:
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_of_a_checkout_goes_with_its_files_to_the_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "def add(left, right):\n    # Adds both.\n    return left + right\n\n\nprint(add(1, 2))\n"
    )
    _write(tmp_path / "code", {"one/src/a.py": code, "two/b.py": code.replace("add", "plus")})
    commit = _commit(tmp_path / "code" / "one")
    row = {"content": code.replace("add", "sum_of"), "path": "c.py", "repo_name": "r"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"max_stars_repo_head_hexsha": "ab12"}))
    sources = (
        FolderSource(
            kind="folder", name="f", folder=tmp_path / "code", licence="MIT", repo_depth=1
        ),
        TableSource(kind="table", name="t", files=f"{tmp_path}/rows.jsonl", licence="MIT"),
    )
    config = {"tokenizer": {"vocab_size": 600}, "splits": {"held_out_share": 0}}
    run = open_run(tmp_path / "run", DataConfig.model_validate({"source": sources, **config}))
    with open_engine(workers=1) as engine:
        build(engine, run)
    entries = [e for shard in open_shards(run.folder / "shards", TRAIN) for e in shard.entries]
    assert {entry.path: entry.commit for entry in entries} == {
        "src/a.py": commit, "b.py": "", "c.py": "ab12",
    }  # fmt: skip
    words = ["train", "data", "explain", "--run", str(run.folder), "--path"]
    assert tabwright([*words, "src/a.py"]) == 0
    assert capsys.readouterr().out.startswith(f"f/one@{commit}: src/a.py")


def test_a_line_without_end_is_counted_and_never_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = json.dumps({"content": "x = 1\n", "path": "a.py", "repo_name": "r"})
    with file.open("w") as stream:
        stream.write(f"{row}\n[1]\nno json\n")
        stream.truncate(300 << 20)  # a hole of NUL bytes, one line
        stream.seek(300 << 20)
        stream.write(f"\n{row}\n")
    config = DataConfig(source=(TableSource(kind="table", name="t", files=str(file)),))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = [raw for part in list_parts(config) for raw in read_part(config, part)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    assert [raw.content is not None for raw in rows] == [True, False, False, False, True]
    hole = (300 << 20) - len(f"{row}\n[1]\nno json\n")
    assert [raw.problem for raw in rows[1:4]] == ["no object", "no JSON", f"{hole} bytes"]


def test_a_damaged_table_is_counted(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and nothing of it")
    files = str(tmp_path / "rows.parquet")
    config = DataConfig(source=(TableSource(kind="table", name="t", files=files),))
    (part,) = list_parts(config)
    (raw,) = read_part(config, part)
    assert raw.content is None
    assert raw.problem == "no Parquet"
