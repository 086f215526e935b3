"""The chain of post-processing steps, whatever text comes, in whatever pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.caller import Eagerness, Lines, Wishes
from server.chain import Chain
from server.postprocess import VERSIONS
from tabwright.languages import languages
from tabwright.request import CompletionRequest

# What the steps look at, so that random texts reach their branches.
BITS = [
    *"()[]{}:;,.=#\"'`\\\r\t /*-<>@%!",
    *("\n", "\n    ", "\n        ", "\r\n", "a", "b", "foo(a)", "return x", "else", "end", "}"),
    *('"""', "'''", "//", "/*", "*/", "--[[", "]]", "if x:", "if (x) {", "self.value", "é", "🙂"),
    *("\u2028", "\x00", "\x85", "\n\n", "def f():", "0, "),
]
code = st.lists(st.sampled_from(BITS) | st.text(max_size=3), max_size=24).map("".join)
names = st.sampled_from([None, *(row.name for row in languages())])


class Case:
    """A request, the wishes and the model's text."""

    def __init__(
        self,
        prefix: str,
        suffix: str | None,
        raw: str,
        language: str | None = None,
        lines: Lines = Lines.AUTO,
        sure: float = 0.0,
        version: str = "v1",
        stop: tuple[str, ...] = (),
    ) -> None:
        self.request = CompletionRequest(prefix, suffix, language=language, stop=stop)
        self.wishes = Wishes(Eagerness(0, sure, lines), version)
        self.raw = raw

    def __repr__(self) -> str:
        return f"Case({self.request!r}, {self.wishes!r}, {self.raw!r})"

    def chain(self) -> Chain:
        return Chain(self.request, self.wishes)


cases = st.builds(
    Case,
    code,
    st.none() | code,
    code,
    names,
    st.sampled_from(list(Lines)),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["off", *VERSIONS]),
    st.sampled_from([(), ("\n",), ("b", "return")]),
)


def shown(case: Case, pieces: Sequence[str], whole: bool = True) -> tuple[str, int | None]:
    """What is shown, and after how many pieces the answer was known to be over."""
    chain, text = case.chain(), ""
    for index, piece in enumerate(pieces):
        new, stopped = chain.push(piece, (-0.1,) * len(piece))
        text += new
        if stopped:
            return text, index
    return text + chain.flush(whole), None


@given(cases, st.booleans())
def test_an_answer_is_only_ever_cut_at_its_end(case: Case, whole: bool) -> None:
    text, _ = shown(case, list(case.raw), whole)
    assert case.raw.startswith(text)


@given(cases, st.booleans(), st.data())
def test_the_pieces_do_not_matter(case: Case, whole: bool, data: st.DataObject) -> None:
    text, stopped_at = shown(case, list(case.raw), whole)
    ends = data.draw(st.sets(st.integers(0, len(case.raw)), max_size=6))
    places = [0, *sorted(ends), len(case.raw)]
    pieces = [case.raw[a:b] for a, b in itertools.pairwise(places)]
    again, piece = shown(case, pieces, whole)
    assert again == text
    if stopped_at is None:
        assert piece is None
    else:
        assert piece is not None
        assert places[piece] <= stopped_at < places[piece + 1]


@given(cases)
def test_what_was_shown_is_never_taken_back(case: Case) -> None:
    answer, _ = shown(case, list(case.raw))
    chain, text = case.chain(), ""
    for character in case.raw:
        new, stopped = chain.push(character, (-0.1,))
        text += new
        assert answer.startswith(text)
        if stopped:
            assert text == answer
            break


@given(cases)
def test_cutting_what_was_cut_cuts_nothing_more_from_a_single_line(case: Case) -> None:
    text, _ = shown(case, [case.raw])
    case.raw = text
    again, _ = shown(case, [text])
    if "\n" not in text:
        assert text == again


@pytest.mark.parametrize(
    "bit", [" ", "# comment\n", "x", "(", "foo(\n", '"""', "\n", "a = 1\n", "-", "foo(bar) "]
)
@pytest.mark.parametrize("prefix", ["", "def f():\n    ", "x = ", '"""\n'])
def test_what_is_held_back_is_bounded(prefix: str, bit: str) -> None:
    chain = Case(prefix, "\n\n" + 300 * "foo(bar)", "", "python").chain()
    pushed = text = ""
    while len(pushed) < 20_000:
        new, stopped = chain.push(bit, (-0.1,))
        pushed, text = pushed + bit, text + new
        if stopped:
            break
        assert len(pushed) - len(text) < 3000


def test_a_plain_continuation_is_raw() -> None:
    assert shown(Case("x = (", None, "  \n\n)))\n"), ["  \n\n)))\n"]) == ("  \n\n)))\n", None)


def test_off_is_raw() -> None:
    assert shown(Case("x = (", "", ")))\n\n", version="off"), [")))\n\n"]) == (")))\n\n", None)


def test_the_clients_stop_strings_come_first() -> None:
    assert shown(Case("x = ", "", "", stop=("b",)), ["abc(\n"]) == ("a", 0)
