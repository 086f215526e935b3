"""What takes the place of a value: the same for the same value in a repository, and of its kind.

A stand-in has only characters that need no escape in any language, and is as long as the value
where it stands for a key, so code around it stays valid. Which one it is follows from the run's
seed, the repository, the kind and the value by a keyed hash, so nobody gets back without guessing.
"""

from __future__ import annotations

import hmac
import string
from collections.abc import Iterator
from ipaddress import IPv6Address

_GIVEN = ("Alex", "Robin", "Kim", "Sam", "Chris", "Jo", "Max", "Nico", "Lee", "Toni", "Pat", "Kai")
_FAMILY = ("Example", "Sample", "Muster", "Nemo", "Doe", "Placeholder", "Anonym", "Nobody")
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_MARK = "EXAMPLE"


def stand_in(kind: str, value: str, repo: str, seed: int, keep: int = 0) -> str:
    """Make the stand-in of a value; the first `keep` characters stay."""
    draws = _draws(f"{seed}\0{repo}\0{kind}\0{value}")
    if kind == "email":
        return f"user{_number(draws, 5)}@example.com"
    if kind == "ipv4":
        return f"{_NETWORKS[next(draws) % 3]}.{1 + next(draws) % 254}"
    if kind == "ipv6":
        return str(IPv6Address((0x20010DB8 << 96) | _number(draws, 4) + 1))
    if kind == "name":
        return f"{_GIVEN[next(draws) % len(_GIVEN)]} {_FAMILY[next(draws) % len(_FAMILY)]}"
    return value[:keep] + _like(value[keep:], draws)


def _like(value: str, draws: Iterator[int]) -> str:
    """Draw letters and digits anew within their class; the end says EXAMPLE if that is no hex."""
    digits = "0123456789abcdef" if not value.strip(string.hexdigits.lower()) else ""
    drawn = []
    for place, character in enumerate(value):
        escaped = place and value[place - 1] == "\\"  # the n of a line's end within a string
        drawn.append(character if escaped else _redraw(character, digits, next(draws)))
    text = "".join(drawn)
    tail = text.rstrip()[-len(_MARK) :]
    if digits or len(text) < 2 * len(_MARK) or not tail.isalnum():
        return text
    end = len(text.rstrip())
    return text[: end - len(_MARK)] + _MARK + text[end:]


def _redraw(character: str, digits: str, draw: int) -> str:
    if digits and character in digits:
        return digits[draw % 16]
    for alphabet in (string.ascii_lowercase, string.ascii_uppercase, string.digits):
        if character in alphabet:
            return alphabet[draw % len(alphabet)]
    if character.isspace() or character in "-_/+=.\\\"':,#*":
        return character
    return "x"


def _number(draws: Iterator[int], size: int) -> int:
    return int.from_bytes(bytes(next(draws) for _ in range(size)))


def _draws(key: str) -> Iterator[int]:
    """An endless stream of bytes that follows from the key."""
    secret = key.encode("utf-8", "surrogatepass")
    block = 0
    while True:
        yield from hmac.digest(secret, block.to_bytes(8), "sha256")
        block += 1
