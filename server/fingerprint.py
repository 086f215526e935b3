"""What a document looks like after a suggestion was accepted, as hashes that tell nothing else.

Some editors report what was accepted without our id. A suggestion may have been cut by the editor's
own filters, at the end of a line or where its patience ended, and typed into before that. So what
is hashed is the end of the text before the cursor together with the suggestion up to such a place,
and the start of the text after it: typing on does not change that. The hash is Python's own, salted
anew by each process: it is quick, and means nothing outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from tabwright.request import CompletionRequest

_BEFORE = 256  # characters
_AFTER = 128
_CUTS = 64  # places in one suggestion


def fingerprint(prefix: str, suffix: str, accepted: str) -> int:
    """Identify the text around the cursor after `accepted` was inserted between the two."""
    before = (prefix[-_BEFORE:] + accepted.rstrip())[-_BEFORE:]
    return hash((before, suffix[:_AFTER]))


def landing(request: CompletionRequest) -> int:
    """Identify where a request stands: the fingerprint of what was accepted just before, if so."""
    return fingerprint(request.prefix.rstrip(), request.suffix or "", "")


def fingerprints(request: CompletionRequest, pieces: Sequence[str]) -> dict[int, int]:
    """Identify what may have been accepted of an answer that came in these pieces, with lengths."""
    text = "".join(pieces)
    if not text.strip():
        return {}
    prefix, suffix = request.prefix[-_BEFORE:], (request.suffix or "")[:_AFTER]
    places = [*islice(_places(pieces), _CUTS), len(text)]
    return {fingerprint(prefix, suffix, text[:place]): place for place in places}


def _places(pieces: Sequence[str]) -> Iterator[int]:
    """Where something has been said and a piece or a line ends."""
    place, blank = 0, True
    for piece in pieces:
        for line in piece.splitlines(keepends=True):
            place += len(line)
            blank = blank and not line.strip()
            if not blank:
                yield place
