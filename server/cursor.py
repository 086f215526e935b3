"""What stands around the cursor of one request, as far as the post-processing steps ask for it.

Only a window of the text is looked at, so the cost does not grow with the file. The language is the
request's, else the path's, else a guess from what the lines end with. Read `cursor_of` first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import islice

from server.lexer import Bracket, Lexer
from tabwright.errors import UnknownLanguage
from tabwright.languages import Language, languages
from tabwright.request import CompletionRequest

_WINDOW = 4000  # characters of each side
_BELOW = 3
_DEEPEST = 64  # brackets around the cursor that are matched
_TAB = 4
_LINE_ENDINGS = 200  # lines that the guess looks at
_COLON_LINE = re.compile(
    r"^[ \t]*(?:def|class|if|for|elif|else|try|with|except|while|async|finally)\b"
    r".*:[ \t]*(?:#.*)?$",
    re.M,
)
_BRACE_LINE = re.compile(r"[{;][ \t\r]*$", re.M)
_SIGN = re.compile(r"\b(?:import|self\.\w|None|True)\b")
_OPENING = re.compile(r"(?:[({\[]|=>|->|\b(?:do|then|else|begin)|\bdo *\|[^|]*\|)$")


@dataclass(frozen=True, slots=True)
class Cursor:
    """One place in a file.

    before, after: the rest of its line on either side. indent: columns of its line's indentation.
    above: lines before it, the nearest last. below: the next lines that are not blank.
    suffix: what follows, shortened. spare: brackets opened before the cursor that nothing after it
    closes, as what would close them, innermost first. owed: what the rest of the line closes though
    nothing before the cursor opened it; owed_quote: the same for a string. quoted: the cursor is in
    a string that ends after it.
    """

    language: Language
    before: str
    after: str
    indent: int
    above: tuple[str, ...]
    below: tuple[str, ...]
    suffix: str
    spare: tuple[str, ...]
    owed: tuple[str, ...]
    quoted: bool
    owed_quote: str
    _lexer: Lexer

    @property
    def blank(self) -> bool:
        """Whether nothing but blanks stands before the cursor on its line."""
        return not self.before.strip()

    @property
    def in_comment(self) -> bool:
        """Whether the cursor is in a comment."""
        return bool(self._lexer.comment)

    @property
    def quote(self) -> str:
        """What closes the string that the cursor is in, else empty."""
        return self._lexer.quote

    def lexer(self) -> Lexer:
        """Make a lexer that is in the cursor's state, with no bracket open."""
        return self._lexer.resumed()

    def has_body(self, line: str) -> bool:
        """Tell whether the text after the cursor begins with the body of the block `line` opens."""
        return bool(self.below) and width(self.below[0]) > width(line)

    def opens_block(self, line: str) -> bool:
        """Tell whether a line is the head of a block."""
        code = _without_comment(line, self.language).rstrip()
        if code.endswith(":") or _OPENING.search(code):
            return True
        words = code.lstrip()
        return any(
            words.startswith(word) and not words[len(word) :][:1].isalnum()
            for word in self.language.opens
        )


def cursor_of(request: CompletionRequest) -> Cursor:
    """Look at what a request has around its cursor."""
    prefix, suffix = _tail(request.prefix), (request.suffix or "")[:_WINDOW]
    language = _language(request, prefix, suffix)
    lines = prefix.split("\n")
    after, _, rest = suffix.partition("\n")
    lexer = _read(language, prefix, suffix, whole=len(prefix) == len(request.prefix))
    following = lexer.resumed()
    following.feed(suffix)
    after = after.rstrip("\r")
    spare, missing = _matched(lexer.open, prefix, following.surplus, suffix)
    return Cursor(
        language=language,
        before=lines[-1],
        after=after,
        indent=width(lines[-1]),
        above=tuple(line.rstrip("\r") for line in lines[-4:-1]),
        below=_filled(rest),
        suffix=suffix[:240],
        spare=spare,
        owed=tuple(bracket.closer for bracket in missing if bracket.place < len(after)),
        quoted=_closed_after(lexer, suffix),
        owed_quote="" if lexer.quote or lexer.comment else _owed(language, after),
        _lexer=lexer,
    )


def _read(language: Language, prefix: str, suffix: str, whole: bool) -> Lexer:
    """Read up to the cursor. A window that began inside a long string takes code for strings and
    strings for code; it shows in a string that nothing ends."""
    lexer = Lexer(language)
    lexer.feed(prefix)
    if lexer.in_long_string and not whole and not _closed_after(lexer, suffix):
        lexer = Lexer(language, inside=lexer.quote)
        lexer.feed(prefix)
    return lexer


def width(line: str) -> int:
    """Count the columns of a line's indentation."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs(_TAB))


def _tail(prefix: str) -> str:
    """The last window of the prefix, from the start of a line, at the left margin if there is one:
    nothing is likely to be open there."""
    if len(prefix) <= _WINDOW:
        return prefix
    window = prefix[-_WINDOW:]
    found = re.search(r"\n(?=[^\s)\]}])", window) or re.search(r"\n", window)
    return window[found.end() :] if found else window


def _filled(text: str) -> tuple[str, ...]:
    lines = (line.rstrip() for line in text.split("\n"))
    return tuple(islice((line for line in lines if line), _BELOW))


def _language(request: CompletionRequest, prefix: str, suffix: str) -> Language:
    if request.language:
        try:
            return languages().get(request.language)
        except UnknownLanguage:
            pass
    first_line = request.prefix[:200].partition("\n")[0]
    return languages().detect(request.path, first_line) or guessed(prefix + suffix)


def guessed(text: str) -> Language:
    """Guess how a language is written from how its lines end: Python, braces, or neither."""
    text = "\n".join(text[: 2 * _WINDOW].split("\n")[:_LINE_ENDINGS])
    colons, braces = len(_COLON_LINE.findall(text)), len(_BRACE_LINE.findall(text))
    if colons > braces or (not braces and _SIGN.search(text)):
        return languages().get("python")
    return _unknown(braces > 0)


@cache
def _unknown(braces: bool) -> Language:
    if braces:
        return Language("braces", line_comment="//", block_comment=("/*", "*/"), long_quotes=("`",))
    return Language("unknown", quotes=('"',))  # an apostrophe opens nothing in prose


def _matched(
    opened: list[Bracket], prefix: str, closed: list[Bracket], suffix: str
) -> tuple[tuple[str, ...], list[Bracket]]:
    """The brackets that the suffix leaves open, and those it closes though nothing opened them.

    The former are the fewest that make what the suffix closes fit the rest, by kind and, where a
    closing bracket begins its line, by indentation.
    """
    inner = [(b.closer, _indent_at(prefix, b.place)) for b in reversed(opened[-_DEEPEST:])]
    ends = [(b.closer, _starts_line(suffix, b.place)) for b in closed[:_DEEPEST]]
    # Braces may be closed beyond the window, other brackets are not so long.
    beyond = "}" if len(suffix) == _WINDOW else ""
    for by_indent in (True, False):
        for count in range(len(inner)):
            rest = inner[count:]
            if all(closer in beyond for closer, _ in rest[len(ends) :]) and all(
                kind == closer and (not by_indent or column is None or column == indent)
                for (kind, indent), (closer, column) in zip(rest, ends, strict=False)
            ):
                return tuple(kind for kind, _ in inner[:count]), closed[len(rest) :]
    return tuple(kind for kind, _ in inner), closed


def _owed(language: Language, after: str) -> str:
    """The quote that the rest of the line closes, if nothing before it can have opened it."""
    lexer = Lexer(language)
    lexer.feed(after)
    return "" if lexer.in_long_string else lexer.quote


def _indent_at(text: str, place: int) -> int:
    return width(text[text.rfind("\n", 0, place) + 1 : place + 1])


def _starts_line(text: str, place: int) -> int | None:
    start = text.rfind("\n", 0, place) + 1
    line = text[start : place + 1]
    return width(line) if start and len(line.lstrip()) == 1 else None


def _closed_after(lexer: Lexer, suffix: str) -> bool:
    """Tell whether the string that the cursor is in is closed by the text after it."""
    if not lexer.quote:
        return False
    scope = suffix if lexer.in_long_string else suffix.partition("\n")[0]
    return scope.count(lexer.quote) % 2 == 1


def _without_comment(line: str, language: Language) -> str:
    mark = language.line_comment
    if mark is None or mark not in line:
        return line
    lexer = Lexer(language)
    for place, character in enumerate(line):
        lexer.step(character)
        if lexer.comment:
            return line[: place + 1 - len(mark)]
    return line
