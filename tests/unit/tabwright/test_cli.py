"""The `tabwright` command: which subcommand runs, and what the shell sees when it fails."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from tabwright import __version__, cli
from tabwright.errors import (
    Broken,
    Busy,
    CorruptArtifact,
    EngineOverloaded,
    InvalidRequest,
    MissingExtra,
    TabwrightError,
    Unavailable,
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., int]], None]:
    """Install a subcommand `try` that calls the given function."""

    def install(entry: Callable[..., int]) -> None:
        module = ModuleType("tabwright_try")
        module.__dict__["main"] = entry
        monkeypatch.setitem(sys.modules, "tabwright_try", module)
        monkeypatch.setitem(cli.COMMANDS, "try", cli.Command("tabwright_try:main", "try it"))

    return install


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def entry(_argv: list[str]) -> int:
        raise error

    return entry


def test_a_subcommand_gets_the_rest_of_the_arguments(
    command: Callable[[Callable[..., int]], None],
) -> None:
    seen: list[list[str]] = []

    def entry(argv: list[str]) -> int:
        seen.append(argv)
        return 7

    command(entry)
    assert cli.main(["try", "--help", "x"]) == 7
    assert seen == [["--help", "x"]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("port", -1, "give one"), 2),
        (EngineOverloaded("full"), 3),
        (Busy("later"), 3),
        (Unavailable("down"), 3),
        (MissingExtra("torch", "train"), 3),
        (CorruptArtifact("bad"), 4),
        (Broken("oops"), 4),
        (TabwrightError("root"), 4),
    ],
)
def test_an_error_is_one_line_on_stderr_and_its_branch_the_exit_code(
    command: Callable[[Callable[..., int]], None],
    capsys: pytest.CaptureFixture[str],
    error: TabwrightError,
    code: int,
) -> None:
    command(raising(error))
    assert cli.main(["try"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"tabwright: {error}\n"


def test_a_message_of_many_lines_is_printed_as_one(
    command: Callable[[Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(Broken("one\n  two")))
    cli.main(["try"])
    assert capsys.readouterr().err == "tabwright: one two\n"


def test_ctrl_c_ends_with_130(command: Callable[[Callable[..., int]], None]) -> None:
    command(raising(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130


def test_a_bug_is_not_hidden_nor_taken_for_a_low_score(
    command: Callable[[Callable[..., int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(ZeroDivisionError()))
    assert cli.main(["try"]) == 4
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_subcommand_whose_library_is_missing_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "locust", None)
    monkeypatch.setitem(cli.COMMANDS, "try", cli.Command("locust:main", "try it"))
    assert cli.main(["try"]) == 3
    assert "pip install 'tabwright[loadtest]'" in capsys.readouterr().err


def test_without_a_command_the_usage_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: tabwright COMMAND")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tabwright {__version__}\n"


def test_a_misspelt_command_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sevre"]) == 2
    assert "did you mean serve?" in capsys.readouterr().err
    assert cli.main(["x"]) == 2
    assert "known: serve" in capsys.readouterr().err


def test_every_extra_that_is_named_exists() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(cli.EXTRA_OF.values()) <= set(project["optional-dependencies"])


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    code = (
        "import sys; from tabwright.cli import run_command\n"
        "sys.exit(run_command('t', lambda: print('x' * 1_000_000) or 0))"
    )
    done = subprocess.run(
        f'{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -c 1',
        shell=True, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("x", "")
