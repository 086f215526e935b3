"""The lexer: what is open, string or comment, read whole or character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.lexer import Lexer
from tabwright.languages import languages

PIECES = [*"()[]{}\"'`\\\n #/*-<>!%;:=ax", '"""', "'''", "/*", "*/", "--[[", "]]", "(*", "*)", "//"]
code = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
names = st.sampled_from([row.name for row in languages()])


def read(language: str, text: str) -> Lexer:
    lexer = Lexer(languages().get(language))
    lexer.feed(text)
    return lexer


def state(lexer: Lexer) -> tuple[object, ...]:
    long = lexer.in_long_string
    return lexer.open, lexer.surplus, lexer.quote, lexer.comment, lexer.place, long


@given(names, code, st.data())
def test_reading_at_once_and_by_character_is_the_same(
    name: str, text: str, data: st.DataObject
) -> None:
    middle = data.draw(st.integers(0, len(text)))
    halves, single = read(name, text[:middle]), Lexer(languages().get(name))
    halves.feed(text[middle:])
    for character in text:
        single.step(character)
    assert state(read(name, text)) == state(single) == state(halves)


@given(names, code, code)
def test_a_lexer_that_goes_on_finds_the_same_strings_and_comments(
    name: str, before: str, after: str
) -> None:
    resumed = read(name, before).resumed()
    resumed.feed(after)
    whole = read(name, before + after)
    assert (resumed.quote, resumed.comment) == (whole.quote, whole.comment)
    assert resumed.place == len(after)


@pytest.mark.parametrize(
    ("language", "text", "waiting"),
    [
        ("python", "f(a, [b", ")]"),
        ("python", "f('(' # (\n", ")"),
        ("python", '"""(\n""" + (', ")"),
        ("python", 'x = "" + (', ")"),
        ("python", "x = 'it\\'s (' + [", "]"),
        ("python", "x = 'not closed (\n[", "]"),
        ("python", "(]", ")"),
        ("javascript", "`(\n${a}` + {", "}"),
        ("javascript", "/* ( */ // (\n{", "}"),
        ("javascript", "fetch('http://a/(') + (", ")"),
        ("rust", "fn f<'a>(x: &'a str) {", "}"),
        ("c", "'(' + '\"' + (", ")"),
        ("lua", "--[[ (\n( ]] f( -- (", ")"),
        ("ocaml", "(* ( *) [", "]"),
        ("haskell", "{- { -} (", ")"),
        ("shell", 'echo $# "${#x}" ( # (', ")"),
        ("html", "<!-- ( --> it's (", ")"),
        ("markdown", "it's (", ")"),
    ],
)
def test_brackets_that_wait_for_their_end(language: str, text: str, waiting: str) -> None:
    assert "".join(bracket.closer for bracket in read(language, text).open) == waiting


def test_a_closing_bracket_that_nothing_opened_is_written_down() -> None:
    assert [tuple(bracket) for bracket in read("python", "a) + b]").surplus] == [(")", 1), ("]", 6)]
