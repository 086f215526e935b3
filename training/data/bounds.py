"""Thresholds of the taggers that measure, and in which extensions they differ.

Defaults are what BigCode and NeMo Curator published for The Stack where they publish a number; the
others were set on the code of this machine's packages (docs/data.md). 0 switches a bound off.
Read `bounds_for`.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Bounds(BaseModel):
    """Thresholds of one extension."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_line: int = Field(default=1000, description="characters of the longest line")
    max_mean_line: float = Field(default=100, description="characters of the mean line")
    max_lines: int = Field(default=100_000, description="lines; more are lists of values")
    max_chars: int = Field(default=0, description="characters of the whole file")
    min_alphanumeric: float = Field(default=0.25, description="share of letters and digits")
    max_encoded: float = Field(default=0.5, description="share in runs of base64, hex, escapes")
    max_encoded_run: int = Field(default=4096, description="characters of one such run")
    min_comments: float = Field(default=0.01, description="share of comments and docstrings")
    max_comments: float = Field(default=0.85, description="share of comments and docstrings")
    min_fertility: float = Field(default=0, description="characters per token of a sample")
    max_errors: float = Field(default=0.05, description="share that the grammar cannot place")
    min_visible: float = Field(default=0, description="share of a page that a reader sees")
    min_visible_chars: int = Field(default=0, description="characters of a page a reader sees")


# Macros are not in the grammars of C's family, so correct code has places they cannot read.
_MACROS = {"max_errors": 0.15}
_PAGE = {"min_visible": 0.2, "min_visible_chars": 100, "max_line": 0, "max_mean_line": 0}
# BigCode's 2.5, 2.9 and 2.6 for a vocabulary of 49,152, times 0.8 for the bundled one of 8,192.
_SCRIPT = {"min_fertility": 2.1}
_RECORDS = {"max_chars": 5000, "min_comments": 0}

BY_EXTENSION: Mapping[str, Mapping[str, float]] = {
    **dict.fromkeys(("c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "ipp", "tpp"), _MACROS),
    **dict.fromkeys(("cu", "cuh", "m"), _MACROS),
    **dict.fromkeys(("html", "htm", "xhtml"), _PAGE),
    **dict.fromkeys(("js", "jsx", "mjs", "cjs"), _SCRIPT),
    **dict.fromkeys(("json", "jsonc", "json5", "yaml", "yml"), _RECORDS),
    "py": {"min_fertility": 2.0},
    "java": {"min_fertility": 2.3},
}


def bounds_for(
    extension: str, bounds: Bounds, by_extension: Mapping[str, Mapping[str, float]]
) -> Bounds:
    """Lay what the configuration changes over an extension's defaults, its own values over both."""
    plain = Bounds().model_dump()
    chosen = {name: value for name, value in bounds.model_dump().items() if value != plain[name]}
    own = by_extension.get(extension, {})
    return Bounds(**{**BY_EXTENSION.get(extension, {}), **chosen, **own})
