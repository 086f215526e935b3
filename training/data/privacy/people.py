"""Finds people: e-mail addresses, and names where authors put them.

Names are looked for in the lines that state an author, nowhere else: `@author`, `__author__`,
"Written by", and copyright lines, of which the year stays. A holder that is a company or a project
is nobody's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.data.privacy.findings import Finding
from training.data.privacy.hints import lines_with

_EMAIL = re.compile(
    r"(?<![\w.+@/%-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+"
    r"([A-Za-z]{2,18})(?![\w@-])"
)
# Searched for first: patterns that start with a character are much faster.
_DOMAIN = re.compile(r"@[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2}")
# Names under which nobody gets mail: RFC 2606, and our own stand-ins.
_NOBODY = re.compile(
    r"@(?:[\w.-]+\.)?(?:example\.(?:com|org|net|edu)|localhost|[\w-]+\.(?:example|test|invalid|local))$",
    re.IGNORECASE,
)
_LONG_DOMAINS = re.compile(
    r"com|org|net|edu|gov|mil|int|info|biz|name|pro|dev|app|xyz|tech|site|online|cloud|club|blog"
    r"|email|systems|software|codes|agency|company|engineering|science|academy|network|world|live"
    r"|life|work|space|studio|design|digital|solutions|today|asia|museum|mobi|jobs|travel|aero|coop"
)
# Two letters after a dot are a country, but for these, which end file names.
_FILES = re.compile("js|ts|py|rb|rs|go|sh|md|gz|xz|so|cs|pl|hs|kt|mm|cc|hh")
_ACCOUNTS = frozenset({"git", "hg", "svn"})

_AUTHOR = re.compile(
    r"(?:^|[\s*#;/%\"'])(?:@author|\\author|__author__\s*=|authors?\s*:|:author:|maintainer\s*:"
    r"|written by|created by|coded by|signed-off-by:|co-authored-by:|reviewed-by:|contributed by)"
    r"[ \t:]*[\"'{]?[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_COPYRIGHT = re.compile(
    r"(?:copyright\b|\u00a9|\(c\))[ \t]*(?:copyright\b|\(c\)|\u00a9|:)*[ \t]*"
    r"(?:(?:19|20)\d\d(?:[ \t]*[-,\u2013][ \t]*(?:(?:19|20)?\d\d|present|now))*[ \t]*,?[ \t]*)+"
    r"(?:by[ \t]+)?",
    re.IGNORECASE,
)
_WORD = r"(?:[A-Z\u00c0-\u00de](?:\.|[\w'\u2019-]*))"
_PARTICLE = r"(?:(?:van|von|de|der|den|da|di|del|la|le|bin|al) )"
_NAME = re.compile(rf"{_WORD}(?: {_PARTICLE}{{0,2}}{_WORD}){{1,3}}")
_NEXT = re.compile(r"\.?\s*(?:<[^>]*>|\([^)]*\))?\s*(?:,|&|and)\s*")
_ORGANISATION = re.compile(
    r"\b(?:inc|llc|ltd|limited|gmbh|ag|s\.?a|corp|corporation|co|company|foundation|authors?|project"
    r"|contributors?|team|university|institute|laboratory|labs?|group|software|systems|technologies"
    r"|consortium|community|developers?|association|all rights|rights reserved|committee|center"
    r"|department|the|and others|platforms?|research|council|government|regents|open|source)\b",
    re.IGNORECASE,
)


_AUTHOR_WORDS = ("author", "maintainer", "written by", "created by", "coded by", "signed-off-by",
                 "reviewed-by", "contributed by")  # fmt: skip
_COPYRIGHT_WORDS = ("copyright", "(c)", "\u00a9")


def find(text: str, lower: str) -> Iterator[Finding]:
    """Yield addresses and names; `lower` is the text in lower case."""
    if "@" in text:
        yield from _emails(text)
    for words, marker in ((_AUTHOR_WORDS, _AUTHOR), (_COPYRIGHT_WORDS, _COPYRIGHT)):
        for line in lines_with(text, lower, words):
            for found in marker.finditer(text, line.start, line.end):
                yield from _names(text, found.end(), line.end)


def _emails(text: str) -> Iterator[Finding]:
    for found in _addresses(text):
        address, domain = found[0], found[1].lower()
        country = len(domain) == 2 and not _FILES.fullmatch(domain)
        known = country or _LONG_DOMAINS.fullmatch(domain)
        escape = text[found.start() - 1 : found.start()] == "\\"
        account = address.split("@", 1)[0].lower()
        if known and not escape and account not in _ACCOUNTS and not _NOBODY.search(address):
            yield Finding(found.start(), found.end(), "email")


def _addresses(text: str) -> Iterator[re.Match[str]]:
    done = 0
    for domain in _DOMAIN.finditer(text):
        if domain.start() >= done:
            start = text.rfind("\n", 0, domain.start()) + 1
            end = text.find("\n", domain.end())
            done = end if end >= 0 else len(text)
            yield from _EMAIL.finditer(text, start, done)


def _names(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the names that stand one after the other from here to the end of the line."""
    while found := _NAME.match(text, start, end):
        piece = re.split("[,<]", text[found.start() : end], maxsplit=1)[0]
        if _ORGANISATION.search(piece):
            return
        yield Finding(*found.span(), "name")
        following = _NEXT.match(text, found.end(), end)
        if not following:
            return
        start = following.end()
