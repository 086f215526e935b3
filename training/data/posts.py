"""Questions and answers as documents: Posts.xml of a Stack Exchange dump, or rows that hold both.

A row of Posts.xml is one post, so each is a document of its own (question and answers lie far apart
in the dump): a question with its title, an answer under the number of its question. A row of a
table that has a question and its answers is one document, the best answer first. HTML becomes
Markdown's plainest form: code blocks stay as they are, indented; other tags go.
Read `parse_post`, then `thread`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

_KINDS = {"1": "question", "2": "answer"}
_LICENCE = re.compile(r"CC BY-SA (\d\.\d)")
_TAG = re.compile(r"<[A-Za-z/!][^>]*>")
_BLOCKS = frozenset({"p", "pre", "div", "h1", "h2", "h3", "ul", "ol", "blockquote", "table", "hr"})


def parse_post(line: str) -> dict[str, Any] | None:
    """Read one line of Posts.xml; None for a line that is no question and no answer.

    Raises:
        ValueError: the line is no row.
    """
    text = line.strip()
    if not text.startswith("<row"):
        if text.startswith(("<?xml", "<posts", "</posts")):
            return None
        raise ValueError("no row")
    try:
        row = ElementTree.fromstring(text).attrib
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    kind, number = _KINDS.get(row.get("PostTypeId", "")), row.get("Id", "")
    if kind is None or not row.get("Body"):
        return None
    found = _LICENCE.search(row.get("ContentLicense", ""))
    parent = row.get("ParentId", "")
    heading = f"# {row['Title']}\n\n" if row.get("Title") else ""
    return {
        "content": heading + as_text(row["Body"]),
        "path": f"{number}.md" if kind == "question" else f"{parent}/answers/{number}.md",
        "license": f"CC-BY-SA-{found[1]}" if found else "",
    }


def thread(row: Mapping[str, Any], question: str, answers: str, title: str) -> str:
    """Join a row's question and answers; those are texts, or objects with a text and a score."""
    found = row.get(answers) or []
    listed = found if isinstance(found, (list, tuple)) else [found]
    ranked = sorted(map(_answer, listed), key=lambda answer: -answer[0])
    heading = f"# {row[title]}\n\n" if row.get(title) else ""
    parts = [heading + as_text(str(row.get(question) or "")), *(text for _, text in ranked if text)]
    return "\n\n---\n\n".join(part.strip("\n") for part in parts) + "\n"


def _answer(found: Any) -> tuple[float, str]:
    if not isinstance(found, Mapping):
        return 0.0, as_text(str(found))
    text = next((found[n] for n in ("text", "body", "answer", "content") if found.get(n)), "")
    score = next((found[n] for n in ("pm_score", "score", "Score") if n in found), 0)
    chosen = bool(found.get("selected") or found.get("accepted"))
    known = float(score) if isinstance(score, (int, float)) else 0.0
    return (float("inf") if chosen else known), as_text(str(text))


def as_text(body: str) -> str:
    """Text of a post's HTML; what holds no tag is text already."""
    if not _TAG.search(body):
        return html.unescape(body).strip() + "\n"
    reader = _Body()
    reader.feed(body)
    reader.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.pieces)).strip("\n") + "\n"


class _Body(HTMLParser):
    """Collects the text of a post, code blocks indented by four blanks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._code: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "pre":
            self._code = []
        elif tag == "li":
            self.pieces.append("\n- ")
        elif tag in _BLOCKS or tag == "br":
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre" and self._code is not None:
            lines = "".join(self._code).strip("\n").split("\n")
            self.pieces.append("\n" + "\n".join(f"    {line}".rstrip() for line in lines) + "\n\n")
            self._code = None
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        (self.pieces if self._code is None else self._code).append(data)
