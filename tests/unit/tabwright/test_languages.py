"""The languages table, and that a wrong table never loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabwright.errors import ConfigError, UnknownLanguage
from tabwright.languages import Languages, languages


def test_there_are_at_least_thirty_languages() -> None:
    assert len(languages()) >= 30


def test_every_language_has_a_comment_or_is_known_to_have_none() -> None:
    without = {row.name for row in languages() if not row.line_comment and not row.block_comment}
    assert without == {"json", "text"}


def test_every_language_is_found_by_its_name_its_aliases_and_its_extensions() -> None:
    table = languages()
    for row in table:
        assert table.get(row.name) is row
        assert table.get(row.name.upper()) is row
        assert all(table.get(alias) is row for alias in row.aliases)
        assert all(table.of_path(f"folder/file.{extension}") is row for extension in row.extensions)
        assert all(table.of_path(f"folder/{name}") is row for name in row.filenames)
        assert all(table.of_shebang(f"#!/usr/bin/env {program}") is row for program in row.shebangs)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("src/main.PY", "python"),
        ("C:\\code\\lib.rs", "rust"),
        ("a.test.tsx", "typescript"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("notes.txt", "text"),
        ("/home/someone/.bashrc", "shell"),
        ("LICENSE", None),
        (".gitignore", None),
        ("", None),
        ("folder/", None),
        (".", None),
        ("..", None),
    ],
)
def test_a_path_tells_the_language(path: str, name: str | None) -> None:
    row = languages().of_path(path)
    assert (row.name if row else None) == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("#!/bin/sh", "shell"),
        ("#!/usr/bin/python3.12 -u", "python"),
        ("#! /usr/bin/env -S deno run", "typescript"),
        ("#!/usr/bin/env LANG=C ruby", "ruby"),
        ("#!/usr/local/bin/node", "javascript"),
        ("#!", None),
        ("#!/usr/bin/env", None),
        ("#!/usr/bin/env something-else", None),
        ("import os", None),
    ],
)
def test_a_shebang_tells_the_language(line: str, name: str | None) -> None:
    row = languages().of_shebang(line)
    assert (row.name if row else None) == name


def test_the_path_counts_more_than_the_first_line() -> None:
    row = languages().detect("tool.py", "#!/bin/sh")
    assert row is not None
    assert row.name == "python"
    script = languages().detect("tool", "#!/bin/sh")
    assert script is not None
    assert script.name == "shell"
    assert languages().detect(None) is None


@given(st.text(), st.text())
def test_detection_takes_any_text(path: str, line: str) -> None:
    languages().detect(path, line)


def test_an_unknown_name_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownLanguage, match=r"'pyhton'; near: python"):
        languages().get("pyhton")
    with pytest.raises(UnknownLanguage) as caught:
        languages().get("q" * 10_000)
    assert len(str(caught.value)) < 100


def test_stops_start_a_line_and_end_a_word() -> None:
    stops = languages().get("python").stops
    assert "\ndef " in stops
    assert "\n@" in stops


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": {}, "b": {"aliases": ["A"]}}, r"name 'a' belongs to both \[a\] and \[b\]"),
        ({"a": {"extensions": ["x"]}, "b": {"extensions": ["X"]}}, "extension 'x' belongs to both"),
        ({"a": {"extensions": ["x", "x"]}}, "extension 'x' belongs to both"),
        ({"a": {"shebangs": ["s"]}, "b": {"shebangs": ["s"]}}, "shebang 's'"),
        ({"a": {"filenames": ["F"]}, "b": {"filenames": ["F"]}}, "file name 'F'"),
        ({"a": {"extension": ["x"]}}, "unknown fields: extension"),
        ({"a": {"extensions": "x"}}, "list of non-empty texts"),
        ({"a": {"extensions": [""]}}, "list of non-empty texts"),
        ({"a": {"extensions": [1]}}, "list of non-empty texts"),
        ({"a": {"line_comment": ""}}, "line_comment"),
        ({"a": {"block_comment": ["/*"]}}, "block_comment"),
        ({"a": 1}, "a is not a table"),
    ],
)
def test_a_wrong_table_is_refused(rows: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Languages(rows)
