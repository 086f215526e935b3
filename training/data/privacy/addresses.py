"""Finds addresses of machines on the internet: not private, loopback or documentation ranges.

Four small numbers are more often a version than an address, so they count only where the line
speaks of addresses; addresses of public name servers are everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from training.data.privacy.findings import Finding

_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\w|-\w)")
# Patterns that start with a character are searched for much faster than those that look back first.
_FROM_FIRST_DOT = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION = re.compile(
    r"(?:\bv(?:er(?:sion)?|sn)?\b|version|release|revision|build|[=><~^]=|assembly|upgrade|section"
    r"|\brfc\b|\boid\b|chapter|firmware|mozilla|chrome|safari|edge|agent)[^\n]{0,40}$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\bip|addr|host|server|gateway|peer|://|listen|bind|ping|dns|remote|client", re.IGNORECASE
)
# Name servers that everybody may ask.
_EVERYBODYS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"})
# Object identifiers of X.500 and of the internet have four numbers too.
_IDENTIFIER = re.compile(r"(?:2\.5|2\.16|1\.[0-3])\.\d")
_SMALL = 20
_BEFORE = 60


def find(text: str) -> Iterator[Finding]:
    """Yield public addresses of both versions."""
    for found in _four_numbers(text):
        if _is_public(found[0]) and not _is_version(text, found.start(), found[0]):
            yield Finding(found.start(), found.end(), "ipv4")
    for found in _IPV6.finditer(text):
        try:
            if IPv6Address(found[0]).is_global:
                yield Finding(found.start(), found.end(), "ipv6")
        except AddressValueError:
            continue


def _four_numbers(text: str) -> Iterator[re.Match[str]]:
    for dot in _FROM_FIRST_DOT.finditer(text):
        for digits in (1, 2, 3):
            start = dot.start() - digits
            if start >= 0 and (found := _IPV4.match(text, start)):
                yield found
                break


def _is_public(value: str) -> bool:
    try:
        address = IPv4Address(value)
    except AddressValueError:
        return False
    everybodys = value in _EVERYBODYS or _IDENTIFIER.match(value) is not None
    return address.is_global and not address.is_multicast and not everybodys


def _is_version(text: str, start: int, value: str) -> bool:
    line = text[max(text.rfind("\n", 0, start) + 1, start - _BEFORE) : start]
    if _VERSION.search(line):
        return not _ADDRESS.search(line)
    small = all(int(number) < _SMALL for number in value.split("."))
    return small and not _ADDRESS.search(line)
