"""The files of the console's page, as they lie in `page/`: read once, sent as they are.

The page may load nothing but these files and ask nobody but this gateway: that is what its
Content-Security-Policy says, so whatever a model writes stays text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Receive, Scope, Send

START = "index.html"
MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_FOLDER = Path(__file__).parent / "page"
_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, and the answer that sends it."""

    media_type: str
    content: bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        headers = {
            "content-type": f"{self.media_type}; charset=utf-8",
            "content-length": str(len(self.content)),
            "cache-control": "no-cache",
            "content-security-policy": _POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": self.content})


def read_page() -> Mapping[str, PageFile]:
    """Read all files of the page, by name."""
    return {
        path.name: PageFile(MEDIA_TYPES[path.suffix], path.read_bytes())
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in MEDIA_TYPES
    }
