"""A runtime's file is checked when it is read, and a toolchain that is missing is said to be."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from evalkit.commands.toolchains import main
from evalkit.execution import Limits
from evalkit.judge import open_judge
from evalkit.neutral import NeutralProblem
from evalkit.nonce_judge import NonceJudge
from evalkit.probes import OUTCOMES, probes
from evalkit.problem import Sample
from evalkit.rendering import render
from evalkit.runtimes import (
    FOLDER,
    Literals,
    Names,
    PromptRow,
    Runtime,
    Step,
    ToolchainRow,
    load_runtime,
    runtime_names,
)
from evalkit.session import open_sandbox
from evalkit.toolchains import (
    ToolchainMissing,
    install_commands,
    lacks,
    missing_programs,
    require,
    status,
)
from tabwright.errors import ConfigError, UnknownLanguage


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """A folder of runtimes that holds Go with one thing changed."""
    root = tmp_path / "sandboxes"
    shutil.copytree(FOLDER / "go", root / "go")
    path = root / "go" / "runtime.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return root


@pytest.mark.parametrize("name", runtime_names())
def test_every_runtime_can_be_read(name: str) -> None:
    assert load_runtime(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('programs = ["go"]', 'programs = "go"', "toolchain.programs"),
        ('programs = ["go"]', "programs = []", "toolchain.programs"),
        ("collect", "colect", "compile.colect"),
        ('collect = ["main"]', "", "compile.collect"),
        ('function = "camel"', 'function = "upper"', "names.function"),
        ('"harness.go"', '"none.go"', "none.go"),
        ('int = "int64"', "", "types: lacks int"),
        ("[toolchain]", "[toolchain", "runtime.toml"),
        ("emit(%call%)", "emit()", "case"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    root = changed(tmp_path, old, new)
    with pytest.raises(ConfigError) as refused:
        load_runtime("go", root)
    assert str(root / "go" / "runtime.toml") in str(refused.value)
    assert key in str(refused.value)


PAGE = FOLDER.parent / "docs" / "extending" / "language.md"


@pytest.mark.needs("sandbox")
@pytest.mark.anyio
async def test_the_language_that_the_page_adds_works_as_it_stands_there(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"\*\*`([\w./]+)`\*\*\n\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(files) == 2 + len(OUTCOMES)
    for name, content in files:
        path = tmp_path / "awk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    runtime = load_runtime("awk", tmp_path)
    if missing := missing_programs(runtime):
        pytest.skip(f"{', '.join(missing)} not installed")
    async with open_sandbox("process") as sandbox:
        judge = NonceJudge(sandbox, tmp_path)
        for probe in probes(runtime):
            found = await judge.judge(probe.problem, probe.sample, Limits(cpu_s=1.5, wall_s=60))
            assert (probe.name, found.outcome) == (probe.name, probe.outcome)


def test_every_field_of_a_runtime_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = (ToolchainRow, Step, Literals, Names, PromptRow, Runtime)
    fields = {name for row in rows for name in row.model_fields} - {"name", "folder"}
    assert not {name for name in fields if name not in text}


def test_an_unknown_language_is_told_what_is_near() -> None:
    with pytest.raises(UnknownLanguage, match="javascript"):
        load_runtime("javascrip")


def test_a_missing_program_is_a_status_and_an_error_that_says_what_to_run(tmp_path: Path) -> None:
    root = changed(tmp_path, 'programs = ["go"]', 'programs = ["go-that-is-not-there"]')
    runtime = load_runtime("go", root)
    assert missing_programs(runtime) == ("go-that-is-not-there",)
    assert not status(runtime).installed
    if os.getuid() == 0 and shutil.which("apt-get"):
        commands = install_commands([runtime])
        assert commands[-1][-1] == "golang-go"
        assert install_commands([]) == []


def test_requiring_what_is_missing_names_the_command(tmp_path: Path) -> None:
    root = changed(tmp_path, 'programs = ["go"]', 'programs = ["go-that-is-not-there"]')
    with pytest.raises(ToolchainMissing, match="evalkit toolchains install --lang go"):
        require(load_runtime("go", root))


def test_the_list_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == set(runtime_names())
    assert report["python"]["installed"] == (not report["python"]["missing"])


def test_a_dry_run_installs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--lang", "python", "--dry-run"]) == 0
    assert "Setting up" not in capsys.readouterr().out


@pytest.mark.needs("sandbox")
@pytest.mark.anyio
async def test_the_same_sample_is_compiled_once_and_answers_need_the_nonce() -> None:
    if missing_programs(load_runtime("c")):
        pytest.skip("gcc not installed")
    fields = {"id": "t", "name": "one", "text": "One.", "parameters": [], "returns": "int"}
    neutral = NeutralProblem.of(
        {**fields, "examples": [], "cases": [{"args": [], "returns": 1}] * 3}
    )
    problem = render(neutral, load_runtime("c"))
    forged = '    puts("\\n0 i1;i1;i1"); exit(0);'
    async with open_sandbox("process") as sandbox, open_judge(sandbox) as judge:
        first = await judge.judge(problem, Sample("t", 0, "    return 1;"), Limits())
        again = await judge.judge(problem, Sample("t", 1, "    return 1;"), Limits())
        forging = await judge.judge(problem, Sample("t", 2, forged), Limits())
    assert (first.outcome, again.outcome, forging.outcome) == ("passed", "passed", "crashed")


def test_what_is_missing_of_a_language_is_said_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lacks("python") == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "typescript: tsc, esbuild not found" in lacks("typescript").replace("node, ", "")
