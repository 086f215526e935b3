"""The fenced blocks of docs/editors.md, for the tests that parse and run them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.repository.sources import ROOT

PAGE = ROOT / "docs" / "editors.md"
ADDRESS = "http://127.0.0.1:8123"
MODEL = "tabwright-7m"
KEY = "YOUR-KEY"


@dataclass(frozen=True)
class Snippet:
    """One block: the section it stands in, its language, its text."""

    section: str
    language: str
    text: str

    def pointed_at(self, url: str, model: str, key: str) -> str:
        """Replace the page's gateway, model and key by real ones."""
        return self.text.replace(ADDRESS, url).replace(MODEL, model).replace(KEY, key)

    def addresses(self) -> list[str]:
        """The paths at our address, as they are written."""
        return re.findall(rf"{re.escape(ADDRESS)}([^\s\"',)]*)", self.text)


def sections() -> dict[str, str]:
    """The page's sections by their heading."""
    _, *parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


def snippets(*languages: str, section: str | None = None) -> list[Snippet]:
    """All blocks in these languages, or in any."""
    found = [
        Snippet(name, language, text)
        for name, body in sections().items()
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    ]
    return [
        s
        for s in found
        if (not languages or s.language in languages) and section in (None, s.section)
    ]
