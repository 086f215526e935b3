"""Other files inside a prompt that a client laid out: their paths, and those within the prefix.

Between tags a file is its path, a line break and its text. Continue also writes files into the
prefix itself: behind plus signs for Codestral, as comment lines for every other family without a
layout of its own. Only prefixes of whole layouts are looked at (`server.templates`). Read
`out_of_prefix` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from tabwright.languages import languages
from tabwright.request import Snippet

NO_TEXT = "[object Object]"  # what JavaScript makes of a chunk or a path by mistake
MOST_FILES = 256  # far more than fit into a prompt; the nearest to the hole are kept
_MOST_LINES = 20_000  # of comments at the start of a prefix
_PLUS = "+++++ "
_NAMED = "Path: "
_DIFF = "diff --git "
_PATH = re.compile(r"[^\s=;\"'<>|*?{}#,][^=;\"'<>|*?{}#,]{0,255}")


class PrefixFiles(NamedTuple):
    """The current file's path and text, and the other files."""

    path: str | None
    prefix: str
    snippets: tuple[Snippet, ...]


def out_of_prefix(prefix: str) -> PrefixFiles | None:
    """Take other files out of a prefix; None where there are none and no path of its own."""
    return _behind_plus(prefix) if prefix.startswith(_PLUS) else _in_comments(prefix)


def snippet(block: str) -> Snippet:
    """A file: its path on the first line, unless that line is code."""
    line, newline, text = block.partition("\n")
    if newline and line.strip() == NO_TEXT:
        return Snippet("", text)
    return Snippet(line.strip(), text) if newline and is_path(line) else Snippet("", block)


def said(snippets: Iterable[Snippet]) -> tuple[Snippet, ...]:
    """Those that say something."""
    return tuple(s for s in snippets if s.text.replace(NO_TEXT, "").strip())


def is_path(line: str) -> bool:
    """Tell whether a line is a path and not code."""
    name = line.strip()
    if not _PATH.fullmatch(line.rstrip()):
        return False
    if any(blank in name for blank in " \t"):
        return ("/" in name or "\\" in name) and "." in name
    return any(mark in name for mark in "./\\") or languages().of_path(name) is not None


def _behind_plus(prefix: str) -> PrefixFiles | None:
    *others, last = prefix.removeprefix(_PLUS).split("\n\n" + _PLUS)
    path, newline, text = last.partition("\n")
    if not newline:
        return None
    return PrefixFiles(path.strip() or None, text, said(map(snippet, others[-MOST_FILES:])))


def _in_comments(prefix: str) -> PrefixFiles | None:
    """Lines `# Path: a.py`, `# code` of each file, then `# own/path.py`, then the file itself.

    A diff has no path. Without other files an empty line stands before the own path.
    """
    text = prefix.removeprefix("\n")
    mark = text[:8].partition(" ")[0]
    if mark not in _marks():
        return None
    start = mark + " "
    lines: list[str] = []
    end = 0
    while text.startswith(start, end) and (newline := text.find("\n", end)) >= 0:
        if len(lines) == _MOST_LINES:
            return None
        lines.append(text[end + len(start) : newline])
        end = newline + 1
    named = [number for number, line in enumerate(lines) if line.startswith((_NAMED, _DIFF))]
    if bool(named) == (text is not prefix) or named[:1] not in ([], [0]):
        return None
    after = range(named[-1] + 1, len(lines)) if named else range(min(1, len(lines)))
    own = next((number for number in after if _is_source(lines[number])), None)
    if own is None:
        return None
    others = []
    for first, last in pairwise([*named[-MOST_FILES:], own]):
        is_diff = lines[first].startswith(_DIFF)
        text_of = "\n".join(lines[first + (not is_diff) : last]) + "\n"
        others.append(Snippet("" if is_diff else lines[first][len(_NAMED) :].strip(), text_of))
    head = sum(len(start) + len(line) + 1 for line in lines[: own + 1])
    return PrefixFiles(lines[own], text[head:], said(others))


def _is_source(line: str) -> bool:
    """Tell whether a line is the last two parts of a source file's path, as Continue names it."""
    known = is_path(line) and languages().of_path(line) is not None
    return known and " " not in line and line.count("/") < 2


@cache
def _marks() -> frozenset[str]:
    return frozenset(row.line_comment for row in languages() if row.line_comment)
