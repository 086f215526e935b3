"""What a document looks like after a suggestion was accepted, as hashes that tell nothing else.

Some editors report what was accepted without our id. A suggestion may have been cut by the editor's
own filters, at the end of a line or where its patience ended, and typed into before that. So what
is hashed is the end of the text before the cursor together with the suggestion up to such a place,
and the start of the text after it: typing on does not change that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice

from tabwright.request import CompletionRequest

_BEFORE = 256  # characters
_AFTER = 128
_CUTS = 64  # places in one suggestion


def fingerprint(prefix: str, suffix: str, accepted: str) -> int:
    """Identify the text around the cursor after `accepted` was inserted between the two."""
    before = (prefix[-_BEFORE:] + accepted.rstrip())[-_BEFORE:]
    text = f"{before}\0{suffix[:_AFTER]}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def fingerprints(request: CompletionRequest, pieces: Sequence[str]) -> frozenset[int]:
    """Identify what may have been accepted of an answer that came in these pieces."""
    text = "".join(pieces)
    return frozenset(
        fingerprint(request.prefix, request.suffix or "", text[:place])
        for place in islice(_places(pieces), _CUTS)
    ) | frozenset([fingerprint(request.prefix, request.suffix or "", text)] if text.strip() else ())


def _places(pieces: Sequence[str]) -> Iterator[int]:
    """Where something has been said and a piece or a line ends."""
    place, blank = 0, True
    for piece in pieces:
        for line in piece.splitlines(keepends=True):
            place += len(line)
            blank = blank and not line.strip()
            if not blank:
                yield place
