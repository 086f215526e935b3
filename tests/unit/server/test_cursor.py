"""What stands around a cursor."""

from __future__ import annotations

from typing import Any

import pytest

from server.cursor import Cursor, cursor_of, guessed
from tabwright.request import CompletionRequest


def at(text: str, **more: Any) -> Cursor:
    prefix, _, suffix = text.partition("█")
    return cursor_of(CompletionRequest(prefix, suffix, **more))


@pytest.mark.parametrize(
    ("text", "spare", "owed"),
    [
        ("f(█", ")", ""),
        ("f(█)", "", ""),
        ("f(g(█)", ")", ""),
        ("f(█))", "", ")"),
        ("class A {\n  f(█\n}\n", ")", ""),
        ("a {\n  b {█\n}\n", "}", ""),
        ("a {\n  b {█\n  }\n}\n", "", ""),
        ("a {\n  if (x) { f(█\n}\n", ")}", ""),
        ("x█]\n", "", "]"),
        ("'(' █ # )\n", "", ""),
        ("f(█" + "\n# text" * 2000, ")", ""),
    ],
)
def test_brackets_against_the_suffix(text: str, spare: str, owed: str) -> None:
    cursor = at(text, language="python")
    assert ("".join(cursor.spare), "".join(cursor.owed)) == (spare, owed)


def test_strings_and_comments_around_the_cursor() -> None:
    assert at("x = '█'", language="python").quoted
    assert not at("x = '█", language="python").quoted
    assert at("x = █'", language="python").owed_quote == "'"
    assert at("# a █", language="python").in_comment
    assert at('"""\na █\n"""\n', language="python").quoted


def test_lines_around_the_cursor() -> None:
    cursor = at("a\r\n\tb█ c\r\n\r\n  d\r\n")
    assert (cursor.before, cursor.after, cursor.indent) == ("\tb", " c", 4)
    assert (cursor.above, cursor.below) == (("a",), ("  d",))


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"language": "Go"}, "go"),
        ({"language": "no such language", "path": "a.rs"}, "rust"),
        ({"path": "a.rb"}, "ruby"),
        ({}, "unknown"),
    ],
)
def test_the_language_is_what_one_is_told(told: dict[str, str], name: str) -> None:
    assert at("x █", **told).language.name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def f(x):\n    return x\n", "python"),
        ("import os\n\nx = 1\n", "python"),
        ("for (int i = 0; i < n; i++) {\n  f(i);\n}\n", "braces"),
        ("import React from 'react';\n\nexport default function App() {\n", "braces"),
        ("package main\n\nfunc main() {\n\tfmt.Println(1)\n}\n", "braces"),
        ("Dear Ann,\nfor the time being: none.\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_language_is_guessed_from_the_text(text: str, name: str) -> None:
    assert guessed(text).name == name


def test_a_script_tells_its_language() -> None:
    assert at("#!/usr/bin/env bash\nif █").language.name == "shell"


def test_a_window_that_begins_inside_a_long_string_is_noticed() -> None:
    begun = '"""' + "words about it\n" * 400 + '"""\n\n\ndef f(x):\n    return (x█\n\n\n"""a"""\n'
    cursor = at(begun, language="python")
    assert (cursor.quote, cursor.spare) == ("", (")",))
