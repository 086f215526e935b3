"""Prompts that a client laid out itself: which text is prefix, suffix, path, other files.

Continue, Zed, llm-ls, twinny, Refact and llama.vscode's OpenAI mode choose a model family's control
tags by the model's name and write them into one text, whatever model is served. Here such a text is
taken apart, so that it becomes an ordinary request and is laid out anew for the model that is
really there. Only whole layouts count, as those clients send them:

    [beginning of text] [repo NAME] (file PATH, text)* [file PATH] hole

where the hole opens with its tag right there, has the tag between prefix and suffix, and ends with
its closing tag at the prompt's end. Everything else is a user's text and stays plain. Where a tag
stands several times because the user's files contain it, the outer ones count, and of those between
prefix and suffix the one that leaves most to the prefix. Chat-like hole fillers are not known here.
Only routes whose clients do this may ask. Read `understood` first, then `parse_prompt`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from server.prompt_files import MOST_FILES, NO_TEXT, is_path, out_of_prefix, said, snippet
from tabwright.artifact import ModelArtifact
from tabwright.request import CompletionRequest, Snippet

_LEAD = "Context:\n\n"  # llama.vscode in OpenAI mode, before its chunks


@dataclass(frozen=True, slots=True)
class Parts:
    """What a laid-out prompt says. suffix None: files and a text to continue, without a hole."""

    prefix: str
    suffix: str | None
    path: str | None = None
    language: str | None = None
    repo: str | None = None
    snippets: tuple[Snippet, ...] = ()


class _Hole(NamedTuple):
    """One order of prefix and suffix: `opening` first `between` second `closing`.

    blank: one blank after the tag that stands before the prefix belongs to the tag.
    """

    opening: str
    between: str
    closing: str
    prefix_first: bool
    blank: bool = False


class _Dialect(NamedTuple):
    """What one group of clients writes. begin: may stand before everything."""

    holes: tuple[_Hole, ...]
    file: str | None = None
    repo: str | None = None
    begin: str = ""


def _psm(prefix: str, suffix: str, middle: str) -> _Hole:
    return _Hole(prefix, suffix, middle, prefix_first=True)


def _spm(prefix: str, suffix: str, middle: str) -> _Hole:
    return _Hole(suffix, prefix, middle, prefix_first=False)


def _joined_spm(prefix: str, suffix: str, middle: str) -> _Hole:
    """Suffix first, so that prefix and answer touch."""
    return _Hole(prefix + suffix, middle, "", prefix_first=False)


_STARCODER = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
_SANTACODER = ("<fim-prefix>", "<fim-suffix>", "<fim-middle>")
_QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_DEEPSEEK = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")
_SEED = ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>")
_GLM = ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>")

_DIALECTS = (
    # StarCoder, Stable Code, Granite 3, ours, and whatever name a client does not know.
    _Dialect(
        (_psm(*_STARCODER), _spm(*_STARCODER), _joined_spm(*_STARCODER)),
        *("<file_sep>", "<repo_name>", "<|endoftext|>"),
    ),
    # Qwen, Granite 4, Mercury.
    _Dialect((_psm(*_QWEN), _spm(*_QWEN)), "<|file_sep|>", "<|repo_name|>", "<|endoftext|>"),
    _Dialect((_psm(*_QWEN), _spm(*_QWEN)), "<|file_separator|>", None, "<bos>"),  # CodeGemma
    _Dialect((_psm(*_DEEPSEEK),), begin="<｜begin▁of▁sentence｜>"),
    _Dialect(
        (
            _Hole("<PRE>", " <SUF>", " <MID>", prefix_first=True, blank=True),
            _Hole("<PRE> <SUF>", " <MID>", "", prefix_first=False, blank=True),
        ),
        begin="<s>",
    ),
    _Dialect((_Hole("[SUFFIX]", "[PREFIX]", "", prefix_first=False),), begin="<s>"),
    _Dialect((_psm(*_SEED), _spm(*_SEED)), begin="<[begin▁of▁sentence]>"),
    _Dialect((_psm(*_GLM),)),
    _Dialect((_psm(*_SANTACODER), _spm(*_SANTACODER))),
)


def understood(request: CompletionRequest, artifact: ModelArtifact) -> CompletionRequest:
    """Give a request without a suffix the parts that its prompt turns out to have.

    A prompt in no known layout that yet begins with a tag of the model's own family and has another
    is taken as meant for the model: its tags become ids and the text between them stays text.
    """
    if request.suffix is not None or request.prompt_ids is not None:
        return request
    parts = parse_prompt(request.prefix)
    if parts is not None:
        return replace(
            request,
            prefix=parts.prefix,
            suffix=parts.suffix,
            path=parts.path,
            language=parts.language,
            repo=parts.repo,
            snippets=parts.snippets,
        )
    ids = _own_ids(request.prefix, artifact)
    return request if ids is None else replace(request, prefix="", prompt_ids=ids)


def parse_prompt(prompt: str) -> Parts | None:
    """Take a laid-out prompt apart; None when it is a plain text."""
    for dialect in _DIALECTS:
        parts = _parse(dialect, prompt.removeprefix(dialect.begin))
        if parts is not None:
            return parts
    return _codegeex(prompt)


def _parse(dialect: _Dialect, text: str) -> Parts | None:
    hole = _filled(dialect, text)
    if hole is not None:
        inside = out_of_prefix(hole.prefix)
        return replace(hole, **inside._asdict()) if inside else hole
    if text.startswith(_LEAD):
        return _after_lead(dialect, text)
    repo = None
    if dialect.repo and text.startswith(dialect.repo):
        # Some end the name with a line break, some with the next tag.
        ends = (text.find(mark) for mark in ("\n", dialect.file or "\n"))
        end = min((place for place in ends if place >= 0), default=len(text))
        repo, text = text[len(dialect.repo) : end].strip(), text[end:].removeprefix("\n")
    if not dialect.file or not text.startswith(dialect.file):
        return None
    found = _in_files(dialect, text.removeprefix(dialect.file).split(dialect.file))
    return found and replace(found, repo=repo or None)


def _in_files(dialect: _Dialect, files: list[str]) -> Parts | None:
    """Take files apart, of which the last one has the hole or ends where the text goes on."""
    openings = tuple(hole.opening for hole in dialect.holes)
    for number, block in enumerate(files):
        line, _, rest = block.partition("\n")
        if block.startswith(openings):
            line, rest = "", block
        elif not rest.startswith(openings):
            continue
        hole = _filled(dialect, str(dialect.file).join([rest, *files[number + 1 :]]))
        others = said(map(snippet, files[:number][-MOST_FILES:]))
        return hole and replace(hole, path=line.strip() or None, snippets=others)
    path, newline, text = files[-1].partition("\n")
    if not newline or not is_path(path):
        return None
    return Parts(text, None, path.strip(), snippets=said(map(snippet, files[:-1][-MOST_FILES:])))


def _filled(dialect: _Dialect, text: str) -> Parts | None:
    found = next(filter(None, (_fill(hole, text) for hole in dialect.holes)), None)
    if found is None and text.endswith("\n"):
        # A template written as a YAML block ends with a line break behind the closing tag.
        closed = (hole for hole in dialect.holes if hole.closing)
        found = next(filter(None, (_fill(hole, text[:-1]) for hole in closed)), None)
    return found


def _fill(hole: _Hole, text: str) -> Parts | None:
    """Prefix and suffix of a text that is one hole from its first to its last character."""
    if not text.startswith(hole.opening):
        return None
    start, end = len(hole.opening), len(text)
    if hole.closing:
        if not text.endswith(hole.closing, start, end):
            return None
        end -= len(hole.closing)
    find = text.rfind if hole.prefix_first else text.find
    at = find(hole.between, start, end)
    if at < 0:
        return None
    first, second = text[start:at], text[at + len(hole.between) : end]
    prefix, suffix = (first, second) if hole.prefix_first else (second, first)
    return Parts(prefix.removeprefix(" ") if hole.blank else prefix, suffix)


def _after_lead(dialect: _Dialect, text: str) -> Parts | None:
    places = (text.find(hole.opening) for hole in dialect.holes)
    at = min((place for place in places if place >= 0), default=-1)
    hole = _filled(dialect, text[at:]) if at >= 0 else None
    if hole is None:
        return None
    return replace(hole, snippets=said([Snippet("", text[len(_LEAD) : at])]))


def _codegeex(prompt: str) -> Parts | None:
    head, opening, body = prompt.partition("\n###MODE:BLOCK\n<|code_suffix|>")
    text, closing, after = body.rpartition("<|code_middle|><|assistant|>")
    suffix, between, prefix = text.partition("<|code_prefix|>")
    if not (head.startswith("<|user|>\n###") and opening and closing and between):
        return None
    if after.strip("\n"):
        return None
    head, _, language = head.removeprefix("<|user|>\n").rpartition("\n###LANGUAGE:")
    files, _, path = ("\n" + head).rpartition("\n###PATH:")
    others = ("\n" + files).split("\n###REFERENCE:\n###PATH:")[1:]
    return Parts(
        prefix,
        suffix,
        path=None if path.strip() in ("", NO_TEXT) else path.strip(),
        language=language.strip() or None,
        snippets=said(map(snippet, others[-MOST_FILES:])),
    )


def _own_ids(prompt: str, artifact: ModelArtifact) -> tuple[int, ...] | None:
    fim = artifact.fim
    layout = {tag for row in fim.family.layouts.values() for tag in row if tag in fim.ids}
    tags = (layout | {fim.family.file, fim.family.repo}) - {fim.family.bos, None}
    spelled = {tag.removeprefix("▁"): fim.ids[tag] for tag in tags if tag}
    pieces = re.split("(" + "|".join(map(re.escape, sorted(spelled))) + ")", prompt)
    if pieces[0] or len(pieces) < 5:
        return None
    ids: list[int] = []
    for number, piece in enumerate(pieces):
        ids.extend([spelled[piece]] if number % 2 else artifact.tokenizer.encode(piece))
    return tuple(ids)
