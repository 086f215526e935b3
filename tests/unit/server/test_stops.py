"""Stop strings: what the answer is does not depend on how its text was cut into pieces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.postprocess.stops import StopScanner

alphabet = st.text(alphabet="ab\n🙂", max_size=12)
stop_lists = st.lists(st.text(alphabet="ab\n🙂", min_size=1, max_size=4), max_size=5)


def expected(text: str, stops: Sequence[str]) -> str:
    """The definition, written down naively: cut where the first stop string is complete."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


def scan(pieces: Sequence[str], stops: Sequence[str]) -> str:
    scanner = StopScanner(stops)
    shown = ""
    for piece in pieces:
        text, stopped = scanner.push(piece)
        shown += text
        if stopped:
            return shown
    return shown + scanner.flush()


@given(st.lists(alphabet, max_size=8), stop_lists)
def test_the_answer_is_independent_of_the_pieces(pieces: list[str], stops: list[str]) -> None:
    assert scan(pieces, stops) == expected("".join(pieces), stops)


@given(st.lists(alphabet, max_size=8), stop_lists)
def test_what_was_shown_is_never_taken_back(pieces: list[str], stops: list[str]) -> None:
    scanner = StopScanner(stops)
    answer = expected("".join(pieces), stops)
    shown = ""
    for piece in pieces:
        text, stopped = scanner.push(piece)
        shown += text
        assert answer.startswith(shown)
        if stopped:
            break


@pytest.mark.parametrize(
    ("text", "stops", "answer"),
    [
        ("one\n\ntwo", ["\n\n"], "one"),
        ("no stop here", ["\n"], "no stop here"),
        ("anything", [], "anything"),
        ("stop", ["stop"], ""),
        ("xaby", ["ab", "xaby"], "x"),  # 'ab' is complete first
        ("xab", ["ab", "xab"], ""),  # complete at once: the longest
        ("aab", ["ab"], "a"),
    ],
)
def test_where_an_answer_ends(text: str, stops: list[str], answer: str) -> None:
    assert scan([text], stops) == answer
    assert scan(list(text), stops) == answer


def test_only_a_possible_start_of_a_stop_is_held_back() -> None:
    scanner = StopScanner(["</code>"])
    assert scanner.push("a < b </co") == ("a < b ", False)
    assert scanner.push("lor>") == ("</color>", False)
    assert scanner.push("<") == ("", False)
    assert scanner.flush() == "<"


def test_many_stop_strings_are_searched_at_once() -> None:
    scanner = StopScanner([f"<|token_{number}|>" for number in range(600)])
    assert scanner.push("x = 1 <|token_599|> y") == ("x = 1 ", True)
