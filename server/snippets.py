"""Pieces of other files in a prompt: which, how much of each, and in what layout.

The most relevant that fit are taken, each cut at the end of a block or line. A piece's size depends
on the piece and on a few fixed sizes, and pieces stand in the order of their paths: so scores that
change with every keystroke leave the start of the prompt, and the engine's prefix cache, as it was.
What stands around the cursor anyway is left out, and so are pieces inside other pieces. A family
that knows files gets its own sentinels, every other one comments. Choosing by content is the
client's business. Read `SnippetShelf.lay_out` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from tabwright.fim import FimFormat
from tabwright.languages import Language, languages
from tabwright.request import CompletionRequest, Snippet
from tabwright.tokenizer import Tokenizer

WINDOW_CHARS_PER_TOKEN = 6  # text further away than this is not even tokenised; code has 3 to 4
HEADER_CHARS = 96
_MOST = 64  # pieces looked at; more than fit into any prompt
_NEAR_CHARS = 65_536  # of prefix and of suffix, to find what is in the prompt anyway
_LEAST = 32  # tokens; below it a header and a line or two are no context
_NAMELESS = "snippet"


class Others(NamedTuple):
    """Ids that stand before the current file's header, and at the start of its prefix."""

    header: list[int]
    prefix: list[int]


@dataclass(frozen=True, slots=True)
class _Comment:
    """How a line becomes a comment."""

    before: str
    after: str = ""

    def of(self, text: str) -> str:
        """Every line of `text` as a comment line."""
        lines = (f"{self.before} {line} {self.after}".rstrip() for line in text.splitlines())
        return "".join(line + "\n" for line in lines)


class SnippetShelf:
    """Lays out pieces of other files for one model."""

    def __init__(self, fim: FimFormat, tokenizer: Tokenizer) -> None:
        """Lay out for the model with these sentinels and tokens."""
        self._fim = fim
        self._tokenizer = tokenizer
        # Editors send the same pieces with every keystroke.
        self._piece = lru_cache(maxsize=256)(self._cut)

    def lay_out(self, request: CompletionRequest, allowed: int) -> Others:
        """Choose pieces of at most `allowed` tokens in all, headers included."""
        if not request.snippets or allowed < _LEAST:
            return Others([], [])
        if self._fim.family.file is None:
            return self._comments(request, allowed)
        last = [] if request.path else [self._fim.ids[self._fim.family.file]]
        repo = self._fim.repository(request.repo, self._tokenizer)
        chosen = self._chosen(request, allowed - len(repo) - len(last), None)
        return Others([*repo, *chosen, *last] if chosen else [], [])

    def _comments(self, request: CompletionRequest, allowed: int) -> Others:
        comment = _comment(request)
        path = short_path(request.path)
        own = self._tokenizer.encode(comment.of(path)) if path else []
        chosen = self._chosen(request, allowed - len(own), comment)
        return Others([], [*chosen, *own] if chosen else [])

    def _chosen(
        self, request: CompletionRequest, allowed: int, comment: _Comment | None
    ) -> list[int]:
        start = max(0, len(request.prefix) - _NEAR_CHARS) // 1024 * 1024
        near = [request.prefix[start:], (request.suffix or "")[:_NEAR_CHARS]]
        ranked = sorted(request.snippets, key=_rank)[:_MOST]
        sizes = (allowed,) if len(ranked) == 1 else (allowed // 2, allowed // 4, allowed // 8)
        taken: list[tuple[str, str, tuple[int, ...]]] = []
        for snippet in ranked:
            core = snippet.text.strip()
            if not core or any(core in text for text in near):
                continue
            path = short_path(snippet.path) or _NAMELESS
            for size in sizes:
                window = snippet.text[: size * WINDOW_CHARS_PER_TOKEN]
                piece = self._piece(path, window, size, comment, len(window) == len(snippet.text))
                if piece and len(piece) <= allowed:
                    taken.append((path, core, piece))
                    near.append(core)
                    allowed -= len(piece)
                    break
        return [token for _, _, piece in sorted(taken) for token in piece]

    def _cut(
        self, path: str, window: str, allowed: int, comment: _Comment | None, whole: bool
    ) -> tuple[int, ...]:
        """One piece of at most `allowed` ids, with its header; nothing when no line fits."""
        encode = self._tokenizer.encode
        text = window.rstrip() + "\n" if whole else window
        if comment:
            head, text, blank = encode(comment.of(path)), comment.of(text), f"\n{comment.before}\n"
        else:
            head, blank = self._fim.header(path, self._tokenizer), "\n\n"
        room = allowed - len(head)
        if room < 1:
            return ()
        ids = encode(text)
        if len(ids) > room or not whole:
            kept = self._tokenizer.decode(ids[:room])
            block = kept.rfind(blank) + 1
            kept = kept[: block if block > len(kept) // 2 else kept.rfind("\n") + 1]
            ids = encode(kept)
        return (*head, *ids) if ids and len(ids) <= room else ()


def short_path(path: str | None) -> str | None:
    """The end of a path or file URI: the model needs names and the extension, not a home folder."""
    if not path:
        return None
    plain = unquote(path.removeprefix("file://")) if path.startswith("file://") else path
    plain = plain.replace("\\", "/").replace("\n", " ")
    return "/".join(plain.split("/")[-4:])[-HEADER_CHARS:]


def _rank(snippet: Snippet) -> tuple[bool, float]:
    return (snippet.score is not None, -(snippet.score or 0.0))


def _comment(request: CompletionRequest) -> _Comment:
    language = _language(request)
    if language and language.block_comment and not language.line_comment:
        return _Comment(*language.block_comment)
    return _Comment(language.line_comment if language and language.line_comment else "#")


def _language(request: CompletionRequest) -> Language | None:
    known = languages()
    named = known.find(request.language) if request.language else None
    return named or known.detect(request.path, request.prefix.partition("\n")[0][:200])
