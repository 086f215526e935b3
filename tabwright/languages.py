"""The table of languages: what a file is written in, and what that language looks like.

A language is a row of `languages.toml`; nothing in the code names one. Detection goes by file name,
extension and first line only: it never guesses from the text. Read `Languages.detect` first.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tabwright.errors import ConfigError, UnknownLanguage

OTHER_LANGUAGE = "other"  # what is in no row

# `env` and the options it may have, before the interpreter: `#!/usr/bin/env -S python3 -u`.
OTHER_LANGUAGE = "other"  # what is in no row

_SHEBANG = re.compile(r"^#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+|\w+=\S*\s+)*(?:\S*/)?)?([^\s/]+)")
_VERSION = re.compile(r"[\d.]+$")
_LISTS = (
    "aliases",
    "extensions",
    "filenames",
    "shebangs",
    "top_level",
    "quotes",
    "long_quotes",
    "opens",
)


@dataclass(frozen=True, slots=True)
class Language:
    """One row: see the head of `languages.toml` for the meaning of each field."""

    name: str
    aliases: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    shebangs: tuple[str, ...] = ()
    line_comment: str | None = None
    block_comment: tuple[str, str] | None = None
    top_level: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ('"', "'")
    long_quotes: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that start the next block at the left margin, where a completion may end."""
        return tuple(
            f"\n{start} " if start[-1].isalnum() or start[-1] == "_" else f"\n{start}"
            for start in self.top_level
        )


class Languages:
    """The rows, found by name, path or first line."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Read the parsed table.

        Raises:
            ConfigError: an unknown field, a value of the wrong type, or two rows with one name,
                extension, file name or shebang.
        """
        self._by_name: dict[str, Language] = {}
        self._by_extension: dict[str, Language] = {}
        self._by_filename: dict[str, Language] = {}
        self._by_shebang: dict[str, Language] = {}
        self._rows = tuple(_row(name, fields) for name, fields in rows.items())
        for row in self._rows:
            _claim("name", self._by_name, row, (row.name, *row.aliases))
            _claim("extension", self._by_extension, row, row.extensions)
            _claim("file name", self._by_filename, row, row.filenames, fold=False)
            _claim("shebang", self._by_shebang, row, row.shebangs, fold=False)

    def __iter__(self) -> Iterator[Language]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, name: str) -> Language:
        """Find a language by its name or an alias, in any case.

        Raises:
            UnknownLanguage: there is none; the message has the nearest names.
        """
        key = name.strip().lower()
        if key in self._by_name:
            return self._by_name[key]
        near = difflib.get_close_matches(key, self._by_name, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise UnknownLanguage(f"unknown language {shown!r}{hint}")

    def find(self, name: str) -> Language | None:
        """Find a language by its name or an alias, in any case; None when there is none."""
        return self._by_name.get(name.strip().lower())

    def detect(self, path: str | None, first_line: str = "") -> Language | None:
        """Tell the language of a file by its name, then its extension, then its first line."""
        return (self.of_path(path) if path else None) or self.of_shebang(first_line)

    def of_path(self, path: str) -> Language | None:
        """Tell the language by file name or extension; either kind of slash separates folders."""
        name = re.split(r"[\\/]", path)[-1]
        if name in self._by_filename:
            return self._by_filename[name]
        stem, dot, extension = name.rpartition(".")
        if dot and stem and extension.lower() in self._by_extension:
            return self._by_extension[extension.lower()]
        # Dockerfile.dev, Makefile.am: a known name with something after it.
        return self._by_filename.get(name.partition(".")[0]) if stem else None

    def of_shebang(self, first_line: str) -> Language | None:
        """Tell the language of a script by its `#!` line."""
        match = _SHEBANG.match(first_line)
        if not match:
            return None
        program = match.group(1)
        return self._by_shebang.get(program) or self._by_shebang.get(_VERSION.sub("", program))


@cache
def languages() -> Languages:
    """Load the table that ships with the package, once."""
    text = resources.files("tabwright").joinpath("languages.toml").read_text(encoding="utf-8")
    return Languages(tomllib.loads(text))


def language_label(name: str | None, path: str | None) -> str:
    """Say which row a file belongs to, by what its editor calls it or by its path, or "other".

    Whatever is asked, the answer is one of a closed set, so it may label a metric.
    """
    row = languages().find(name) if name else None
    row = row or (languages().of_path(path) if path else None)
    return row.name if row else OTHER_LANGUAGE


def _row(name: str, fields: Mapping[str, Any]) -> Language:
    if not isinstance(fields, Mapping):
        raise ConfigError(f"languages: {name} is not a table")
    unknown = set(fields) - {*_LISTS, "line_comment", "block_comment"}
    if unknown:
        raise ConfigError(f"languages: [{name}] has unknown fields: {', '.join(sorted(unknown))}")
    lists = {key: _strings(name, key, fields[key]) for key in _LISTS if key in fields}
    line = fields.get("line_comment")
    if line is not None and not (isinstance(line, str) and line):
        raise ConfigError(f"languages: [{name}] line_comment: give a text")
    block = _strings(name, "block_comment", fields.get("block_comment", []))
    if len(block) not in (0, 2):
        raise ConfigError(f"languages: [{name}] block_comment: give what opens and what closes it")
    return Language(
        name=name,
        line_comment=line,
        block_comment=(block[0], block[1]) if block else None,
        **lists,
    )


def _strings(name: str, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise ConfigError(f"languages: [{name}] {key}: give a list of non-empty texts")
    return tuple(value)


def _claim(
    kind: str,
    table: dict[str, Language],
    row: Language,
    keys: tuple[str, ...],
    *,
    fold: bool = True,
) -> None:
    for key in keys:
        key = key.lower() if fold else key
        if key in table:
            raise ConfigError(
                f"languages: {kind} {key!r} belongs to both [{table[key].name}] and [{row.name}]"
            )
        table[key] = row
