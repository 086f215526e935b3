"""Makes an expected value of a test program wrong.

A program that passes its tests must fail when one of them expects something else; one that still
passes does not compute what is asked for. A test program is a text here: literals in its asserts,
outside of the calls of the candidate, are what is expected. Read `alterations` first.
"""

from __future__ import annotations

import hashlib
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


def alterations(tests: str, form: Form, task_id: str, entry: str) -> list[str]:
    """The tests with one expected value made wrong, once for each; in an order of the task's own.

    None if no value could be made out.
    """
    if task_id in form.spoiled:
        return [tests.replace(*form.spoiled[task_id], 1)]
    calls = re.compile(filled(form.call, entry=re.escape(entry)))
    asserted = re.compile(form.asserted, re.MULTILINE)
    places: list[tuple[int, int, str]] = []
    for found in asserted.finditer(tests):
        start, end = found.span(1 if asserted.groups else 0)
        text = _without_calls(tests[start:end], calls, form.list_call)
        for pattern in (_TOLERANCE, _TOLERANCE_LAST):
            text = pattern.sub(lambda hidden: " " * len(hidden[0]), text)
        places += [(start + at, start + to, wrong) for at, to, wrong in _wrong(text)]
    made = [tests[:at] + wrong + tests[to:] for at, to, wrong in places]
    return sorted(made, key=lambda text: hashlib.sha256((task_id + text).encode()).digest())


def _wrong(text: str) -> Iterator[tuple[int, int, str]]:
    """Each literal's place, and another literal of its type."""
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
        yield found.start(), found.end(), new


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
