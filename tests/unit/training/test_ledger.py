"""Does the ledger account for every document, and can the tool say why each went where it went?"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tabwright.cli import main as tabwright
from tabwright.errors import ConfigError
from training.data.affected import find_affected
from training.data.config import read_config
from training.data.engines.local import open_engine
from training.data.explanation import explain
from training.data.ledger import write_ledger
from training.data.pipeline import build
from training.data.run import Run, open_run, read_run


def _module(number: int) -> str:
    rows = [
        f'def function_{number}_{i}(value):\n    """Return {i} times the value."""\n'
        f"    return value * {i} + {number}\n"
        for i in range(12)
    ]
    return "\n\n".join(rows)


def _build(root: Path, more: str = "") -> Run:
    config = (
        f'{more}\n[[source]]\nkind = "folder"\nname = "code"\nfolder = "{root / "code"}"\n'
        'repo_depth = 1\nlicence = "MIT"\n[tokenizer]\nvocab_size = 600\n'
        "[splits]\nheld_out_share = 0\n"
    )
    (root / "data.toml").write_text(config)
    run = open_run(root / "run", read_config(root / "data.toml"))
    with open_engine(workers=1) as engine:
        build(engine, run)
    return run


def _write(root: Path) -> None:
    files = {
        "one/a.py": _module(1),
        "one/b.py": _module(2),
        "two/a.py": _module(1),  # the same text in another project
        "two/near.py": _module(2) + "\n\nVERSION = 2\n",
        "two/long.py": "x = 1\n" * 4 + "y" * 3000,
        "three/c.py": _module(3),
        "three/empty.py": "",
        "three/<b>.js": "// Code generated; DO NOT EDIT\n" + "a = 1;\n" * 9,
    }
    for name, text in files.items():
        (root / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "code" / name).write_text(text)
    (root / "code" / "three" / "image.py").write_bytes(b"\x89PNG\0\0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("ledger")
    _write(root)
    return _build(root)


@pytest.fixture(scope="module")
def ledger(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "ledger.json").read_text("utf-8"))
    return found


def _sum(ledger: dict[str, Any], step: str, name: str) -> int:
    return sum(row[name] for row in ledger["steps"] if row["step"] == step)


def test_every_document_is_accounted_for_from_step_to_step(ledger: dict[str, Any]) -> None:
    steps = list(dict.fromkeys(row["step"] for row in ledger["steps"]))
    assert steps == ["filters", "exact_duplicates", "near_duplicates", "clean"]
    assert [_sum(ledger, step, "rows_in") for step in steps] == [9, 5, 4, 3]
    for before, after in itertools.pairwise(steps):
        for measure in ("rows", "bytes", "tokens"):
            out = _sum(ledger, before, f"{measure}_out")
            assert out == _sum(ledger, after, f"{measure}_in")
    removed = sum(row["documents"] for row in ledger["reasons"].values())
    assert removed + _sum(ledger, "clean", "rows_out") == 9
    for histogram in ledger["histograms"].values():
        assert sum(row["kept"] + row["removed"] for row in histogram) == 9


def test_tokens_of_the_last_step_are_those_of_the_shards(run: Run, ledger: dict[str, Any]) -> None:
    manifest = json.loads((run.folder / "shards" / "manifest.json").read_text("utf-8"))
    assert _sum(ledger, "clean", "tokens_out") == manifest["splits"]["train"]["tokens"]
    assert _sum(ledger, "clean", "bytes_out") == manifest["splits"]["train"]["bytes"]
    assert _sum(ledger, "filters", "tokens_in") > manifest["splits"]["train"]["tokens"]


def test_removed_samples_show_what_was_removed_and_why(ledger: dict[str, Any]) -> None:
    reasons = {name: [row["path"] for row in rows] for name, rows in ledger["samples"].items()}
    assert reasons == {
        "binary": ["image.py"], "empty": ["empty.py"], "long_lines": ["long.py"],
        "generated": ["<b>.js"], "exact_duplicate": ["a.py"], "near_duplicate": ["near.py"],
    }  # fmt: skip
    near = ledger["samples"]["near_duplicate"][0]
    assert near["duplicate_of"]["path"] == "b.py"
    assert near["excerpt"].startswith("def function_2_0")
    assert ledger["samples"]["generated"][0]["tags"] == [["generated", "do not edit"]]


def test_no_more_samples_are_shown_than_promised_and_always_the_same(tmp_path: Path) -> None:
    _write(tmp_path)
    for number in range(60):
        (tmp_path / "code" / "one" / f"{number}.py").write_text(f"x = {number}\n")
    run = _build(tmp_path)
    first = json.loads((run.folder / "ledger.json").read_text("utf-8"))
    ids = [row["id"] for row in first["samples"]["empty"]]
    assert len(ids) == 50
    assert ids == sorted(ids)
    with open_engine(workers=1) as engine:
        assert write_ledger(engine, run) == first


def test_the_page_escapes_what_it_shows_and_loads_nothing(run: Run) -> None:
    page = (run.folder / "ledger.html").read_text("utf-8")
    assert "&lt;b&gt;.js" in page
    assert "<b>.js" not in page
    assert "<script" not in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page


def test_explain_names_tags_evidence_and_fate(run: Run) -> None:
    (row,) = explain(run, "path", "long.py")
    assert row["fate"] == "long_lines"
    assert [(t["tag"], t["drops"]) for t in row["tags"]] == [
        ("long_lines", True),
        ("few_comments", False),
        ("fertility", True),
    ]
    assert "longest 3000" in row["tags"][0]["evidence"]
    assert explain(run, "id", row["id"]) == [row]
    assert row["shards"] is None


def test_explain_names_the_document_that_stayed_instead(run: Run) -> None:
    (near,) = explain(run, "path", "near.py")
    assert near["duplicate_of"]["path"] == "b.py"
    assert 0.7 <= near["duplicate_of"]["jaccard"] < 1
    assert near["alike"][0]["jaccard"] == near["duplicate_of"]["jaccard"]
    kept, copy = explain(run, "path", "a.py")
    assert (kept["fate"], kept["copies"]) == ("kept", 1)
    assert kept["shards"]["tokens"] > 0
    assert (copy["fate"], copy["duplicate_of"]["repo"]) == ("exact_duplicate", "code/one")


def test_explain_of_an_unknown_document_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        explain(run, "path", "nowhere.py")


def test_the_commands_tell_the_same(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(run.folder)
    assert tabwright(["train", "data", "report", "--run", folder]) == 0
    assert "near_duplicate: 1 documents" in capsys.readouterr().out
    assert tabwright(["train", "data", "explain", "--run", folder, "--path", "near.py"]) == 0
    assert "copy of code/one: b.py" in capsys.readouterr().out
    words = ["train", "data", "opt-out", "--repo", "CODE/Three", "--runs", folder]
    assert tabwright(words) == 0
    assert "train-00000.npy: 1 documents" in capsys.readouterr().out


def test_a_repository_that_opted_out_is_in_no_shard(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "no.txt").write_text("# asked on Monday\nCode/One  # by mail\n")
    run = _build(tmp_path, f'opt_out = "{tmp_path / "no.txt"}"')
    assert find_affected("code/one", [run.folder]).shards == {}
    assert [row["fate"] for row in explain(run, "path", "b.py")] == ["opted_out"]
    assert [row["fate"] for row in explain(run, "path", "near.py")] == ["kept"]
    (tmp_path / "no.txt").write_text("code/two\n")
    with pytest.raises(ConfigError, match="another configuration"):
        open_run(run.folder, read_config(tmp_path / "data.toml"))


def test_a_missing_opt_out_list_stops_the_run(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(ConfigError, match="opt_out"):
        _build(tmp_path, f'opt_out = "{tmp_path / "no.txt"}"')


def test_opt_out_names_the_models_made_of_a_repository(run: Run, tmp_path: Path) -> None:
    digest = json.loads((run.folder / "shards" / "manifest.json").read_text("utf-8"))["digest"]
    shutil.copytree(run.folder / "shards", tmp_path / "shards")

    def trained(name: str, data: str, init_from: str | None = None) -> Path:
        step = tmp_path / name / "checkpoints" / "step-00000010"
        step.mkdir(parents=True)
        (step / "manifest.json").write_text('{"step": 10, "files": {}}')
        row: dict[str, object] = {"config": {}, "data": data, "init_from": init_from}
        (tmp_path / name / "run.json").write_text(json.dumps(row))
        return step

    first = trained("first", digest)
    second = trained("second", "other", str(first))
    trained("unconcerned", "other")
    for name, data in (("artifact", digest), ("clean", "other")):
        (tmp_path / name).mkdir()
        lineage = {"lineage": {"stages": [{"data_digest": data}]}}
        (tmp_path / name / "manifest.json").write_text(json.dumps(lineage))

    found = find_affected("code/one", [tmp_path])
    assert [Path(shard).name for shard in found.shards] == ["train-00000.npy"]
    assert [Path(c) for c in found.checkpoints] == [first, second]
    assert [Path(a).name for a in found.artifacts] == ["artifact"]
    assert find_affected("code/nobody", [tmp_path]).checkpoints == ()


def test_a_run_that_decided_nothing_has_no_ledger(run: Run, tmp_path: Path) -> None:
    shutil.copyfile(run.folder / "plan.json", tmp_path / "plan.json")
    with open_engine(workers=1) as engine, pytest.raises(ConfigError, match="nothing is decided"):
        write_ledger(engine, read_run(tmp_path))
