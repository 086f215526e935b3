"""Tags code that its language's grammar cannot read.

Python is judged by the running interpreter's own parser, so Python 2 is unparsable. Other languages
are judged by tree-sitter: the share of the text that lies in errors, less the constructs that were
read within them, with one byte for every token that had to be made up, must not be above
`max_errors`. The grammars know no macros and no preprocessor, hence the tolerance. A file on which
the parser works for long is given up after a number of its steps, not of seconds, so that every
machine says the same.
"""

from __future__ import annotations

import ast
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from tree_sitter import Node, Parser

from training.data.config import DataConfig
from training.data.document import Document, Tag

# Language -> grammar. Not here: languages with dialects that one grammar does not cover (assembly,
# SQL, COBOL, Vim, Perl's regular expressions), prose, and those without a grammar.
GRAMMARS = {
    "javascript": "tsx",
    "typescript": "typescript",
    "java": "java",
    "kotlin": "kotlin",
    "scala": "scala",
    "groovy": "groovy",
    "c": "cpp",
    "cpp": "cpp",
    "cuda": "cuda",
    "objective-c": "objc",
    "csharp": "csharp",
    "fsharp": "fsharp",
    "go": "go",
    "rust": "rust",
    "zig": "zig",
    "swift": "swift",
    "dart": "dart",
    "php": "php",
    "ruby": "ruby",
    "perl": "perl",
    "lua": "lua",
    "shell": "bash",
    "fish": "fish",
    "powershell": "powershell",
    "r": "r",
    "julia": "julia",
    "fortran": "fortran",
    "matlab": "matlab",
    "haskell": "haskell",
    "ocaml": "ocaml",
    "elm": "elm",
    "erlang": "erlang",
    "elixir": "elixir",
    "clojure": "clojure",
    "lisp": "commonlisp",
    "emacs-lisp": "elisp",
    "scheme": "scheme",
    "racket": "racket",
    "nim": "nim",
    "d": "d",
    "pascal": "pascal",
    "ada": "ada",
    "verilog": "verilog",
    "vhdl": "vhdl",
    "solidity": "solidity",
    "html": "html",
    "css": "css",
    "scss": "scss",
    "vue": "vue",
    "svelte": "svelte",
    "json": "json",
    "yaml": "yaml",
    "toml": "toml",
    "dockerfile": "dockerfile",
    "makefile": "make",
    "cmake": "cmake",
    "terraform": "terraform",
    "nix": "nix",
    "protobuf": "proto",
    "graphql": "graphql",
}
_BY_EXTENSION = {"tsx": "tsx", "mli": "ocaml_interface", "fsi": "fsharp_signature"}
# The parser reports every hundred operations, some 50,000 times a second: about ten seconds.
_MAX_REPORTS = 500_000
_CHUNK = 256


def prepare(config: DataConfig) -> Callable[[Document], Iterator[Tag]]:
    """Make the tagger for a configuration."""
    bounds_of = lru_cache(1024)(config.filters.bounds_of)

    def tag(document: Document) -> Iterator[Tag]:
        if document.language == "python":
            if problem := _python_problem(document.text):
                yield Tag("unparsable", problem)
            return
        grammar = _BY_EXTENSION.get(document.extension) or GRAMMARS.get(document.language)
        if grammar is None:
            return
        bound = bounds_of(document.extension).max_errors
        share = error_share(grammar, document.text.encode("utf-8", "replace"))
        if share is None:
            yield Tag("unparsable", f"{grammar}: given up")
        elif share > bound:
            yield Tag("unparsable", f"{grammar}: {share:.3f} in errors")

    return tag


def _python_problem(text: str) -> str:
    try:
        with warnings.catch_warnings(), _no_collection():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except SyntaxError as error:
        return f"python: line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"python: {type(error).__name__}"
    return ""


@contextmanager
def _no_collection() -> Iterator[None]:
    """A tree has no cycles: collecting while it grows costs a third of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def error_share(grammar: str, source: bytes) -> float | None:
    """Measure the share of a source that lies in errors; None if the parser was given up."""
    parser = _parser(grammar)
    window = _window()
    reports = 0

    def chunk(start: int, _: object) -> bytearray:
        window[:] = source[start : start + _CHUNK]
        return window

    def give_up(_: int, __: bool) -> bool:
        nonlocal reports
        reports += 1
        return reports > _MAX_REPORTS

    try:
        tree = parser.parse(chunk, progress_callback=give_up)
    except ValueError:
        parser.reset()
        return None
    return _lost(tree.root_node) / max(len(source), 1)


def _lost(root: Node) -> int:
    """Count bytes in errors, less the constructs that the parser read within them."""
    lost = 0
    left = [root]
    while left:
        node = left.pop()
        if node.is_missing:
            lost += 1
        elif node.is_error:
            inner = [child for child in node.children if child.child_count or child.is_missing]
            lost += _size(node) - sum(map(_size, inner))
            left.extend(inner)
        elif node.has_error:
            left.extend(node.children)
    return lost


def _size(node: Node) -> int:
    return node.end_byte - node.start_byte


@cache
def _parser(grammar: Any) -> Parser:
    from tree_sitter_language_pack import get_parser

    return get_parser(grammar)


@cache
def _window() -> bytearray:
    """What every callback returns, as tree-sitter 0.26 never lets go of a returned object."""
    return bytearray()
