"""docs/extending/benchmark.md: its package is found by its entry point, listed and judged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending" / "benchmark.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files in a folder, with the entry points as an installer writes them."""
    folder = tmp_path_factory.mktemp("greetings")
    files = dict(re.findall(r"^\*\*`(.+?)`\*\*\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S))
    assert set(files) == {"pyproject.toml", "greetings.py", "traffic_light.toml"}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, rows in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in rows.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def evalkit(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Run a command with the folder on the path, as a real process."""
    code = "import sys; from evalkit.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)


def test_the_benchmark_of_the_page_is_listed_with_what_it_leaves_out(installed: Path) -> None:
    code, rows = evalkit(installed, "list")
    assert code == 0
    assert rows["greetings"]["problems"] == {"python": 1}
    assert list(rows["greetings"]["left_out"]) == ["greetings/2"]
    assert rows["core"]["problems"]["python"] >= 40
    assert "--path" in rows["mbpp"]["unavailable"]


@pytest.mark.needs("sandbox")
def test_its_reference_passes_and_its_mutants_fail(installed: Path) -> None:
    words = re.search(r"^    evalkit (check .*)$", PAGE, re.M)
    assert words
    code, report = evalkit(installed, *words[1].split())
    row = report["languages"]["python"]
    assert code == 0, report
    assert (row["references"], row["passed"]) == (1, 1)
    assert (row["mutants"]["run"], row["mutants"]["failed"]) == (3, 3)


@pytest.mark.needs("sandbox")
@pytest.mark.needs("chromium")
def test_the_web_task_of_the_page_passes_and_its_mutants_fail(
    installed: Path, tmp_path: Path
) -> None:
    task = (installed / "traffic_light.toml").read_text(encoding="utf-8")
    (tmp_path / "traffic_light.toml").write_text(task, encoding="utf-8")
    words = re.search(r"^    evalkit (check .*) FOLDER$", PAGE, re.M)
    assert words
    code, report = evalkit(installed, *words[1].split(), str(tmp_path))
    row = report["languages"]["html"]
    assert code == 0, report
    assert (row["references"], row["passed"]) == (1, 1)
    assert (row["mutants"]["run"], row["mutants"]["failed"]) == (3, 3)


@pytest.mark.needs("sandbox")
def test_a_benchmark_whose_tests_do_not_look_is_found_out(installed: Path) -> None:
    blind = (installed / "greetings.py").read_text(encoding="utf-8")
    blind = blind.replace('== "Hello, Ada!"', 'or "fine"').replace('== "Hello, world!"', 'or "x"')
    folder = installed / "blind"
    folder.mkdir()
    (folder / "greetings.py").write_text(blind, encoding="utf-8")
    code, report = evalkit(
        Path(f"{folder}{os.pathsep}{installed}"), "check", "--benchmark", "greetings", "--mutants"
    )
    faults = report["languages"]["python"]["mutants"]["faults"]
    assert code == 1
    assert [fault["outcome"] for fault in faults] == ["passed"] * len(faults)
    assert faults
