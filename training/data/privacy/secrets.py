"""Finds what lets somebody in: keys of known formats, passwords in addresses, assigned secrets.

Formats are a table of our own and those detectors of detect-secrets whose keys have a mark; a mark
that is nowhere in the text costs one search for it. What is assigned to a name like `api_key` is a
secret if it looks drawn by chance: placeholders, hashes behind their algorithm, paths and words are
none. Test keys and what says EXAMPLE are no secrets.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from typing import NamedTuple

from training.data.privacy.findings import Finding
from training.data.privacy.hints import Line, lines_with


class _Format(NamedTuple):
    """`marks`: one of them is in every match. The secret is group 1; `keep` of it is its prefix.

    in_line: no match goes over the end of a line.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    keep: int = 0
    in_line: bool = True


_B62 = "[A-Za-z0-9]"
_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9])"
_FORMATS = (
    _Format("aws", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T"), re.compile(
        _START + r"((?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16})" + _END), 4),
    _Format("aws", ("aws", "AWS", "Aws", "ecret"), re.compile(
        r"(?i:aws|secret)[^\n]{0,40}?[\"'=: ]([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])")),
    _Format("github", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(
        rf"{_START}(gh[pousr]_{_B62}{{36}}){_END}"), 4),
    _Format("github", ("github_pat_",), re.compile(
        rf"(github_pat_{_B62}{{22}}_{_B62}{{59}}){_END}"), 11),
    _Format("gitlab", ("glpat-",), re.compile(r"(glpat-[A-Za-z0-9_-]{20})" + _END), 6),
    _Format("slack", ("xox",), re.compile(r"(xox[abeoprs]-[A-Za-z0-9-]{20,250})" + _END), 5),
    _Format("slack", ("hooks.slack.com",), re.compile(
        rf"hooks\.slack\.com/services/(T{_B62}{{6,12}}/B{_B62}{{6,12}}/{_B62}{{20,30}}){_END}")),
    _Format("stripe", ("k_live_",), re.compile(rf"([rsp]k_live_{_B62}{{20,120}}){_END}"), 8),
    _Format("stripe", ("whsec_",), re.compile(rf"(whsec_{_B62}{{32}}){_END}"), 6),
    _Format("google", ("AIza",), re.compile(r"(AIza[A-Za-z0-9_-]{35})" + _END), 4),
    _Format("google", ("GOCSPX-",), re.compile(r"(GOCSPX-[A-Za-z0-9_-]{28})" + _END), 7),
    _Format("google", ("ya29.",), re.compile(r"(ya29\.[A-Za-z0-9_-]{30,300})" + _END), 5),
    _Format("npm", ("npm_",), re.compile(rf"{_START}(npm_{_B62}{{36}}){_END}"), 4),
    _Format("pypi", ("pypi-AgE",), re.compile(r"(pypi-AgE[A-Za-z0-9_-]{50,300})" + _END), 8),
    _Format("openai", ("sk-",), re.compile(
        r"(?<![A-Za-z0-9-])(sk-(?:proj-|svcacct-|ant-)?[A-Za-z0-9_-]{40,200})" + _END), 3),
    _Format("huggingface", ("hf_",), re.compile(rf"{_START}(hf_{_B62}{{34}}){_END}"), 3),
    _Format("jwt", ("eyJ",), re.compile(
        r"(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"), 3),
    _Format("private_key", ("PRIVATE KEY",), re.compile(
        r"BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----([^-]{20,20000}?)-----END"), 0, False),
    _Format("password", ("://",), re.compile(
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>{}$]{0,80}:([^\s:/@\"'<>{}$]{4,120})@[\w.-]")),
)  # fmt: skip

# Detectors of detect-secrets with the marks without which they cannot match.
_DETECTORS = {
    "artifactory:ArtifactoryDetector": ("AKC", "AP6", "AP1", "AP2", "AP3", "AP5", "APA", "APB"),
    "azure_storage_key:AzureStorageKeyDetector": ("AccountKey=",),
    "discord:DiscordBotTokenDetector": ("discord", "Discord", "DISCORD"),
    "mailchimp:MailchimpDetector": ("-us",),
    "sendgrid:SendGridDetector": ("SG.",),
    "square_oauth:SquareOAuthDetector": ("sq0csp",),
    "telegram_token:TelegramBotTokenDetector": ("telegram", "Telegram", "TELEGRAM"),
    "twilio:TwilioKeyDetector": ("twilio", "Twilio", "TWILIO"),
}

_NAMES = (
    r"(?:api_?-?key|secret(?:_?key)?|token|passw(?:or)?d|passwd|pwd|auth_?key|access_?key|account_?key"
    r"|private_?key|client_?secret|credentials?|encryption_?key|signing_?key|bearer)"
)
_ASSIGNED = re.compile(
    rf"({_NAMES})(?!iz)\w{{0,30}}[\"'\]]{{0,2}}\s{{0,3}}(?::=|=>|->|[:=(,])\s{{0,3}}"
    r"(?:[a-z]\w{0,3})?[\"'`]([^\"'`\s\\]{8,200})[\"'`]",
    re.IGNORECASE,
)
_UNQUOTED = re.compile(
    rf"[ \t]*(?:export[ \t]+|set[ \t]+|-[ \t]+)?[\w.-]{{0,40}}({_NAMES})[\w-]{{0,30}}[ \t]*[=:]"
    r"[ \t]*([A-Za-z0-9+/_=!@%^&*-]{12,200})[ \t]*$",
    re.IGNORECASE,
)
_HINTS = ("key", "secret", "token", "passw", "pwd", "credential", "bearer")
_NO_SECRET = re.compile(
    r"example|sample|dummy|fake|placeholder|change.?me|your[_-]?|my[_-]?(?:secret|key|token|pass)"
    r"|x{4}|\*{3}|\.{3}|12345678|abcdefg|qwerty|lorem|todo|redacted|insert|replace|default|null"
    r"|undefined|<|>|\$\{|\{\{|%[sd(]|^sha\d|^md5|_test_|test[_-]|[_-]test|^test|deadbeef|0{8}|^x-"
    r"|^(?:https?|file|s3|arn|urn|data):|^[./~]|\.(?:json|ya?ml|py|js|ts|txt|pem|key|crt|html)$",
    re.IGNORECASE,
)
# What a key of a known format says when it is there to be shown.
_SHOWN = re.compile(r"example|x{6}|\*{3}|_test_|0{8}|12345678|abcdefgh", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z]+(?:[._:/-][A-Za-z]+)*\d{0,2}|[A-Za-z_]\w*(?:[._][A-Za-z]{3,}\w*)+")
_LETTERS = re.compile(r"[A-Z]?[a-z]{4,}")
_CODE = re.compile(r"[(\[{][^)]*[)\]}]|::|->|\w\.\w+\(")
_MIN_LEFT = 0.4
_WEAK = frozenset({"password", "passwd", "secret", "pass", "pwd", "user", "root", "admin", "token"})
_MIN_ENTROPY = 2.9
_MIN_URL_ENTROPY = 2.2


def find(text: str, lower: str) -> Iterator[Finding]:
    """Yield the secrets of a text; `lower` is the text in lower case."""
    for known in (*_FORMATS, *_detectors()):
        if marks := tuple(mark for mark in known.marks if mark in text):
            whole = Line(0, len(text))
            lines = lines_with(text, text, marks) if known.in_line else (whole,)
            yield from chain.from_iterable(_formatted(known, text, line) for line in lines)
    for line in lines_with(text, lower, _HINTS):
        for found in _ASSIGNED.finditer(text, line.start, line.end):
            if _looks_drawn(found[2], found[1]):
                yield Finding(*found.span(2), "assigned")
        unquoted = _UNQUOTED.match(text, line.start, line.end)
        if unquoted and _looks_drawn(unquoted[2], unquoted[1]):
            yield Finding(*unquoted.span(2), "assigned")


def _formatted(known: _Format, text: str, line: Line) -> Iterator[Finding]:
    for found in known.pattern.finditer(text, line.start, line.end):
        group = 1 if found.re.groups and found[1] else 0
        value = found[group]
        if known.kind == "password":
            secret = value.lower() not in _WEAK and _entropy(value) >= _MIN_URL_ENTROPY
            secret = secret and not _NO_SECRET.search(value)
        elif known.kind == "private_key":
            secret = "EXAMPLE" not in value
        else:
            secret = not _SHOWN.search(value[known.keep :])
            secret = secret and not (len(value) == 40 and _is_hash(value))
        if secret:
            yield Finding(*found.span(group), known.kind, known.keep)


@cache
def _detectors() -> tuple[_Format, ...]:
    formats: list[_Format] = []
    for place, marks in _DETECTORS.items():
        module, name = place.split(":")
        detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        formats.extend(
            _Format(module, marks, pattern, in_line=False) for pattern in detector.denylist
        )
    return tuple(formats)


def _looks_drawn(value: str, name: str) -> bool:
    """Whether a value is more likely drawn by chance than written to be read.

    People's passwords hold words: under such a name words count as drawn if both cases are there.
    """
    if _NO_SECRET.search(value) or _WORDS.fullmatch(value) or _UUID.fullmatch(value):
        return False
    digits, letters = sum(map(str.isdigit, value)), sum(map(str.isalpha, value))
    if not digits or letters < 2 or _entropy(value) < _MIN_ENTROPY or _CODE.search(value):
        return False
    chosen = name.lower().startswith("p") and value != value.lower()
    return chosen or len(_LETTERS.sub("", value)) > _MIN_LEFT * len(value)


def _is_hash(value: str) -> bool:
    return not value.strip("0123456789abcdef") or not value.strip("0123456789ABCDEF")


def _entropy(value: str) -> float:
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
