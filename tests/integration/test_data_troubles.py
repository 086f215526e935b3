"""Does a run say what is wrong with its folder or its disk, and end well once that is mended?"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tabwright.cli import main
from training.data.config import read_config
from training.data.run import alone, open_run

_WORDS = ("add", "cut", "mix", "sort", "split", "merge", "count", "fold", "pick", "move")


def _module(number: int) -> str:
    return "".join(
        f"def {word}_{number}_{turn}(value):\n    # {word} by {number}\n    return value + {turn}\n"
        for turn, word in enumerate(_WORDS)
    )


def _config(root: Path, source: str) -> Path:
    file = root / "data.toml"
    file.write_text(
        f'[[source]]\nname = "here"\nlicence = "MIT"\n{source}\n[tokenizer]\nvocab_size = 600\n'
        "[splits]\nheld_out_share = 0\n[dedup]\nnear = false\n[filters]\ndrop = ['unreadable']\n"
        "[contamination]\nbenchmarks = ['core']\n"
    )
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    code.mkdir()
    for number in range(8):
        (code / f"m{number}.py").write_text(_module(number))
    return _config(tmp_path, f'kind = "folder"\nfolder = "{code}"')


def _run(config: Path, out: Path) -> int:
    words = ["--config", str(config), "--out", str(out), "--workers", "1"]
    return main(["train", "data", "run", *words])


def _digest(run: Path) -> str:
    return str(json.loads((run / "shards" / "manifest.json").read_text())["digest"])


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    config: Path, tmp_path: Path
) -> None:
    words = ["--config", str(config), "--out", str(tmp_path / "run"), "--workers", "1"]
    code = "import sys; from tabwright.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "data", "run", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "run it again to go on" in done.stderr
    assert _run(config, tmp_path / "run") == 0
    assert _run(config, tmp_path / "roomy") == 0
    assert _digest(tmp_path / "run") == _digest(tmp_path / "roomy")


def test_two_runs_in_one_folder_do_not_meet(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone(tmp_path / "run"):
        assert _run(config, tmp_path / "run") != 0
    assert "another run is working in it" in capsys.readouterr().err
    assert _run(config, tmp_path / "run") == 0


@pytest.mark.parametrize("name", ["o'clock ä", '100% "done" %41', "semi;colon -- x"])
def test_folders_may_have_odd_names(config: Path, tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir()
    (tmp_path / "code").rename(odd / "code")
    escaped = json.dumps(str(odd / "code"), ensure_ascii=False)
    config = _config(odd, f'kind = "folder"\nfolder = {escaped}')
    assert _run(config, odd / "run") == 0


def test_a_folder_that_the_engines_take_for_a_pattern_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(config, tmp_path / "all*[ab]") != 0
    assert "take * [ ] for a pattern" in capsys.readouterr().err


def test_a_table_that_vanishes_between_plan_and_reading_is_counted(tmp_path: Path) -> None:
    for number in range(2):
        rows = [{"content": _module(10 * number + row), "path": f"{row}.py"} for row in range(4)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{number}.jsonl").write_text(lines)
    config = _config(tmp_path, f'kind = "table"\nfiles = "{tmp_path}/*.jsonl"')
    open_run(tmp_path / "run", read_config(config))
    (tmp_path / "1.jsonl").unlink()
    assert _run(config, tmp_path / "run") == 0
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["reasons"]["unreadable"]["documents"] == 1
    (sample,) = ledger["samples"]["unreadable"]
    assert sample["path"].endswith("1.jsonl")


@pytest.mark.parametrize("files", [(), ("empty.py",)])
def test_a_source_with_nothing_in_it_is_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: tuple[str, ...]
) -> None:
    (tmp_path / "code").mkdir()
    for name in files:
        (tmp_path / "code" / name).touch()
    source = f'kind = "folder"\nfolder = "{tmp_path}/code"'
    assert _run(_config(tmp_path, source), tmp_path / "run") != 0
    said = capsys.readouterr().err
    assert "no file was found" in said or "no document was left" in said
