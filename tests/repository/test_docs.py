"""The documents tell the truth about commands, folders, settings and files."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tabwright.cli import COMMANDS
from tests.repository import configuration_page
from tests.repository.sources import ROOT, tracked

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [path for path in tracked() if path.suffix == ".md"]

HELPS = [
    ["tabwright"],
    *(["tabwright", name] for name in COMMANDS),
    *(["tabwright", "train", verb] for verb in ("data", "run", "export", "holes", "tokenizer")),
    *(["tabwright", "train", verb] for verb in ("plan", "doctor", "ngram", "merge", "adapter")),
    *(["tabwright", "train", verb] for verb in ("card", "flow")),
    *(["tabwright", "train", "data", verb] for verb in ("run", "report", "explain")),
    *(["tabwright", "train", "data", verb] for verb in ("audit", "opt-out")),
    *(["tabwright", "keys", verb] for verb in ("create", "list", "set", "revoke")),
    *(["tabwright", "ab", verb] for verb in ("flags", "ingest", "report", "purge", "power")),
    ["tabwright", "ab", "simulate"],
    ["tabwright", "ab", "export-preferences"],
    *(["tabwright", "triton", verb] for verb in ("install", "up", "status", "down", "serve")),
    *(["tabwright", "ab", "flags", verb] for verb in ("list", "show", "history", "try", "set")),
    *(["tabwright", "ab", "flags", verb] for verb in ("enable", "override", "export", "import")),
    ["evalkit"],
    ["evalkit", "toolchains"],
    ["evalkit", "toolchains", "list"],
    ["evalkit", "toolchains", "install"],
    ["evalkit", "render"],
    ["evalkit", "estimate"],
]


def shown(words: list[str]) -> str:
    """The help of one command, from a real process."""
    code = f"import sys; from {words[0]}.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words[1:], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_every_help_ends_with_an_example_of_that_command(words: list[str]) -> None:
    last = shown(words).strip().split("\n\n")[-1]
    assert last.lower().startswith("example: ")
    assert " ".join(last.split()).lower().startswith("example: " + " ".join(words))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_documents(name: str) -> None:
    texts = [(ROOT / path).read_text(encoding="utf-8") for path in PAGES]
    assert any(re.search(rf"tabwright {re.escape(name)}\b", text) for text in texts)


def test_the_readme_has_a_line_for_every_top_level_folder() -> None:
    folders = {path.parts[0] for path in tracked() if len(path.parts) > 1}
    lines = README.splitlines()
    missing = [f for f in sorted(folders) if not any(row.startswith(f"{f}/ ") for row in lines)]
    assert not missing


def test_the_readme_names_no_top_level_folder_that_is_not_there() -> None:
    named = re.findall(r"^([\w.]+)/ +\S", README, flags=re.MULTILINE)
    assert named
    assert all((ROOT / name).is_dir() for name in named)


def test_the_configuration_page_is_what_the_settings_say() -> None:
    written = configuration_page.PAGE.read_text(encoding="utf-8")
    assert written == configuration_page.render(), "run `make docs`"


def test_every_flag_of_the_server_is_on_the_configuration_page() -> None:
    from server.settings import ServerSettings
    from tabwright.settings import add_flags

    parser = argparse.ArgumentParser()
    add_flags(parser, ServerSettings)
    page = configuration_page.PAGE.read_text(encoding="utf-8")
    flags = [option for action in parser._actions for option in action.option_strings]
    keys = {
        f.removeprefix("--no-").removeprefix("--").replace("-", "_") for f in flags if "--" in f
    }
    assert not {key for key in keys - {"help"} if f"`{key}`" not in page and f"--{key}" not in page}


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [t for t in targets if t and "://" not in t and not t.startswith("mailto:")]
    assert not [t for t in local if not (ROOT / path.parent / t).exists()]


def test_every_make_target_in_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for path in PAGES:
        named = re.findall(r"`make ([a-z-]+)", (ROOT / path).read_text(encoding="utf-8"))
        assert set(named) <= targets, path


def test_the_readme_shows_what_serve_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from server.cli import _announce
    from server.settings import BUNDLED_MODEL, ServerSettings

    _announce(ServerSettings.model_validate({}), BUNDLED_MODEL.name, 8123)
    assert capsys.readouterr().out.strip() in README
