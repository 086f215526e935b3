"""Makes an expected value of a test program wrong.

A program that passes its tests must fail when one of them expects something else; one that still
passes does not compute what is asked for. A test program is a text here: literals in its asserts,
outside of the calls of the candidate, are what is expected. Read `alterations` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.program_forms import Form
from evalkit.rendering import filled

_OPPOSITE = {"true": "false", "True": "False", "TRUE": "FALSE", "#t": "#f"}
_FLIPPED = _OPPOSITE | {wrong: right for right, wrong in _OPPOSITE.items()}
_LITERAL = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<letter>'(?:[^'\\\n]|\\.)')"""
    r"""|(?P<quoted>'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<truth>\b(?:true|false|True|False|TRUE|FALSE)\b|\#[tf]\b)"""
    r"""|(?P<number>(?<![\w.])\d+(?:\.\d+)?)"""
)
_TOLERANCE = re.compile(r"(?:<=?|\bwithin\b)\s*[\d.]+(?:[eE]-?\d+)?f?|\b\d+(?:\.\d*)?[eE]-\d+")
_TOLERANCE_LAST = re.compile(r"(?<=\s)0\.0*1(?=\s*\)*\s*$)", re.MULTILINE)
_OPENING = {"(": ")", "[": "]", "{": "}"}


def alterations(tests: str, form: Form, task_id: str, entry: str, prompt: str) -> list[str]:
    """The tests with one expected value made wrong, once for each.

    The last assert comes first, and those whose arguments the prompt shows come last: a candidate
    may answer what is shown, and turn the rest of the asserts off. None if no value could be made
    out.
    """
    if task_id in form.spoiled:
        return [tests.replace(*form.spoiled[task_id], 1)]
    calls = re.compile(filled(form.call, entry=re.escape(entry)))
    places: list[tuple[bool, int, str]] = []
    for start, text, around in _asserts(tests, form):
        bare = _without_calls(text, calls, form.list_call)
        given = _arguments(text, bare) or _arguments_around(around)
        places += [
            (bool(given) and given in prompt, -at, tests[:at] + wrong + tests[to:])
            for at, to, wrong in _wrong(bare, start)
        ]
    made = [made for _, _, made in sorted(places)]
    return made or _negated(tests, form)


def _negated(tests: str, form: Form) -> list[str]:
    """Tests that say only by their form what is expected, with that turned round."""
    old, new = form.spoiled.get("*", ("", ""))
    return [tests.replace(old, new, 1)] if old and old in tests else []


def argument_alterations(tests: str, form: Form) -> list[str]:
    """The tests with any one literal of an assert changed, an argument or an expected value.

    For asserts that expect no literal. Only a reference can say which of them are wrong now.
    """
    places = [place for start, text, _ in _asserts(tests, form) for place in _wrong(text, start)]
    return [tests[:at] + wrong + tests[to:] for at, to, wrong in reversed(places)]


def _asserts(tests: str, form: Form) -> Iterator[tuple[int, str, str]]:
    """Where each begins that compares, what it compares, and what stands in front of that."""
    asserted = re.compile(form.asserted, re.MULTILINE)
    for found in asserted.finditer(tests):
        start, end = found.span(1 if asserted.groups else 0)
        yield start, tests[start:end], tests[found.start() : start]


def _arguments(text: str, bare: str) -> str:
    """The arguments of the first call that was blanked out."""
    places = [at for at, (old, new) in enumerate(zip(text, bare, strict=True)) if old != new]
    if not places:
        return ""
    opening = text.find("(", places[0])
    inner = text[opening : _closing(text, opening)][1:-1]
    return inner.removeprefix("candidate").strip()


def _arguments_around(text: str) -> str:
    """The arguments of a call that stands in front of what is expected, as far as to there."""
    _, called, rest = text.partition("candidate")
    return rest.strip(" =)(") if called else ""


def _wrong(text: str, start: int) -> Iterator[tuple[int, int, str]]:
    """Each literal's place in the tests, and another literal of its type."""
    for pattern in (_TOLERANCE, _TOLERANCE_LAST):
        text = pattern.sub(lambda hidden: " " * len(hidden[0]), text)
    for found in _LITERAL.finditer(text):
        old = found[0]
        match found.lastgroup:
            case "truth":
                new = _FLIPPED[old]
            case "letter":
                new = "'b'" if old == "'a'" else "'a'"
            case "number":
                whole, dot, rest = old.partition(".")
                new = f"{int(whole) + 1}{dot}{rest}"
            case _:
                new = f"{old[0]}x{old[1:]}"
        yield start + found.start(), start + found.end(), new


def _without_calls(text: str, calls: re.Pattern[str], list_call: bool) -> str:
    """Blank out the calls of the candidate, with their arguments."""
    made = text
    for found in calls.finditer(text):
        opening = text.rfind("(", 0, found.start()) if list_call else text.find("(", found.end())
        if opening < 0:
            continue
        end = _closing(text, opening)
        start = min(found.start(), opening)
        made = made[:start] + " " * (end - start) + made[end:]
    return made


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens at `opening` is closed, behind it; strings are passed over."""
    depth = 0
    at = opening
    while at < len(text):
        literal = _LITERAL.match(text, at)
        if literal and literal.lastgroup in ("text", "letter", "quoted"):
            at = literal.end()
            continue
        depth += (text[at] in _OPENING) - (text[at] in _OPENING.values())
        at += 1
        if not depth:
            return at
    return len(text)
