"""API keys: what one may do, how its token is made, and how a token is recognised.

    tw_3f9c01ab_Jx0…            the token; only its owner has it
       id       secret          the id finds the key, the digest of the whole proves it

Only a SHA-256 digest is kept. A slow hash protects passwords, which people choose and others can
guess; 40 random letters cannot be guessed, so slowness would only cost time at every keystroke. How
keys are stored: `server.keys_file`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from server.caller import Caller, Eagerness, KeyScope, Lines
from server.rates import Rate

DEFAULT_SCOPES = frozenset({KeyScope.COMPLETE, KeyScope.EVENTS})  # what an editor's one token needs
_PREFIX = "tw_"
_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARS = 40  # 238 bits


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret. Wishes that are None are those of the gateway's settings."""

    id: str
    digest: str
    name: str
    scopes: frozenset[KeyScope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rate: Rate | None = None
    delay_ms: float | None = None
    min_confidence: float | None = None
    lines: Lines | None = None

    def state(self, now: datetime) -> str:
        """Say `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def caller(self, default: Eagerness) -> Caller:
        """Who has it; `default` is the eagerness where the key has no wish."""
        eagerness = Eagerness(
            default.delay_ms if self.delay_ms is None else self.delay_ms,
            default.min_confidence if self.min_confidence is None else self.min_confidence,
            default.lines if self.lines is None else self.lines,
        )
        return Caller(
            self.id,
            self.name,
            eagerness=eagerness,
            scopes=self.scopes,
            rate=self.rate,
            holder=self.name,
        )


class NewToken(NamedTuple):
    """A token, to be shown once, and what is kept of it."""

    token: str
    id: str
    digest: str


def new_token() -> NewToken:
    """Make a token that nobody can guess."""
    key_id = secrets.token_hex(4)
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    token = f"{_PREFIX}{key_id}_{secret}"
    return NewToken(token, key_id, digest_of(token))


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class KeyRing:
    """The keys that are in force, ready to be looked up."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        """Hold `keys`."""
        self._keys = {key.id: key for key in keys}

    def __len__(self) -> int:
        """Count the keys, revoked ones included."""
        return len(self._keys)

    def find(self, token: str) -> ApiKey | None:
        """Return the key of this token, None where it is unknown, expired or revoked."""
        key = self._keys.get(token.removeprefix(_PREFIX).partition("_")[0])
        if key is None or not hmac.compare_digest(digest_of(token), key.digest):
            return None
        return key if key.state(datetime.now(UTC)) == "active" else None
