"""What an editor has after accepting is recognised, however far the user had typed by then."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from server.fingerprint import fingerprint, fingerprints
from tabwright.request import CompletionRequest

texts = st.text(alphabet="ab \n🙂", max_size=30)


def request(prefix: str, suffix: str = "") -> CompletionRequest:
    return CompletionRequest(prefix=prefix, suffix=suffix)


@given(texts, texts, st.lists(texts, max_size=6), st.data())
def test_an_answer_that_was_typed_into_is_recognised(
    prefix: str, suffix: str, pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    assume(text.strip())
    known = fingerprints(request(prefix, suffix), pieces)
    typed = data.draw(st.integers(0, len(text.rstrip()) - 1))
    assert fingerprint(prefix + text[:typed], suffix, text[typed:]) in known


def test_an_answer_that_was_cut_at_a_line_or_a_piece_is_recognised() -> None:
    known = fingerprints(request("x = ", "\n"), ["len(it", "ems)\n    y = 2\n", "z"])
    for accepted in ("len(it", "len(items)", "len(items)\n    y = 2", "len(items)\n    y = 2\nz"):
        assert fingerprint("x = ", "\n", accepted) in known
    for other in ("len(", "len(items)\n    y", "len(itemz)"):
        assert fingerprint("x = ", "\n", other) not in known


def test_what_stands_far_away_does_not_matter_and_what_stands_near_does() -> None:
    near = " ".join(map(str, range(100)))
    assert fingerprint("far" + near, "", "b") == fingerprint("away" + near, "", "b")
    assert fingerprint(near, "", "b") != fingerprint(near[:-1], "", "b")
    assert fingerprint(near, "x", "b") != fingerprint(near, "y", "b")


def test_a_blank_answer_is_nothing_to_recognise() -> None:
    assert fingerprints(request("x"), [" ", "\n"]) == {}


def test_long_answers_are_known_at_their_start_and_their_end() -> None:
    pieces = [f"line {number}\n" for number in range(1000)]
    known = fingerprints(request(""), pieces)
    assert len(known) == 65
    assert fingerprint("", "", "".join(pieces)) in known
    assert fingerprint("", "", "line 0\nline 1") in known
