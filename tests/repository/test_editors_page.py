"""docs/editors.md: its settings parse, its addresses exist, each section says who ran it."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from fastapi import FastAPI

from server.app import create_app
from server.engines.scripted import ScriptedEngine
from server.settings import ServerSettings
from tests.fakes.tiny_artifact import make_tiny_artifact
from tests.repository.editor_snippets import PAGE, Snippet, sections, snippets
from tests.repository.sources import ROOT

PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "python": ast.parse,
}
RUN_ELSEWHERE = {"js", "lua", "vim"}
LABELS = ["Set up", "Key", "Cancel", "Reports", "Limits", "Verified"]


def named(snippet: Snippet) -> str:
    return f"{snippet.section} {snippet.language}"


@pytest.mark.parametrize("snippet", snippets(*PARSERS), ids=named)
def test_every_setting_parses(snippet: Snippet) -> None:
    assert PARSERS[snippet.language](snippet.text)


def test_every_block_has_a_language_that_is_checked() -> None:
    assert {snippet.language for snippet in snippets()} <= {*PARSERS, *RUN_ELSEWHERE}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    artifact = make_tiny_artifact(tmp_path_factory.mktemp("models") / "tiny")

    settings = ServerSettings.model_validate({})

    async def made() -> FastAPI:
        async with anyio.create_task_group() as tasks:
            app = create_app(ScriptedEngine(artifact), settings, tasks)
        return app

    return {str(getattr(route, "path", "")) for route in anyio.run(made).routes}


def test_every_address_is_a_route_or_the_base_of_some(routes: set[str]) -> None:
    asked = {path.rstrip("/") for snippet in snippets() for path in snippet.addresses()}
    assert len(asked) > 5
    unknown = {
        path
        for path in asked
        if path not in routes and not any(route.startswith(f"{path}/") for route in routes)
    }
    assert not unknown


def test_every_path_in_the_text_is_a_route(routes: set[str]) -> None:
    text = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    paths = set(re.findall(r"`(/[\w/.-]+)`", text))
    engine = "/v1/engines/tabwright-7m/completions"
    assert engine in paths
    assert paths - {engine} <= routes


@pytest.mark.parametrize("name", sections())
def test_every_section_says_the_same_things(name: str) -> None:
    assert re.findall(r"^- \*\*(.+?)\.\*\*", sections()[name], re.MULTILINE) == LABELS


def test_every_section_is_in_the_table_and_the_other_way_round() -> None:
    head = PAGE.read_text(encoding="utf-8").split("\n## ")[0]
    assert re.findall(r"^\| \[(.+?)\]\(#", head, re.MULTILINE) == list(sections())


def test_every_test_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    files = set(re.findall(r"`(?:tests/integration/)?(test_\w+\.py)`", text))
    assert len(files) > 5
    assert not [f for f in files if not (ROOT / Path("tests/integration") / f).is_file()]
