"""The one file that defines a data set: sources, filters, thresholds, vocabulary.

    seed = 0

    [[source]]
    kind = "folder"
    name = "ours"
    folder = "~/code"
    licence = "Apache-2.0"
    weight = 2.0

    [filters]
    drop = ["long_lines", "generated", "unparsable"]

    [tokenizer]
    vocab_size = 8192

Every field has a default but the sources. Read `DataConfig`, then `read_config`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tabwright.errors import ConfigError
from training.data.bounds import Bounds, bounds_for

# Every tag that a tagger may give, with what it means; `[filters] drop` names some of them.
TAGS = {
    "unreadable": "the file could not be opened or read",
    "binary": "NUL bytes, or too many bytes that are no text in any encoding tried",
    "large": "more bytes than [read] max_bytes",
    "empty": "fewer than three lines with text, and less than 1,000 characters",
    "generated": "its first lines or its name say that a program wrote it",
    "minified": "a script or style made small for the wire",
    "long_lines": "the longest or the mean line is above its bound",
    "symbols": "too small a share of letters and digits",
    "language": "its language is not among [filters] languages",
    "opted_out": "the repository is on the opt-out list",
    "contamination": "it holds a task of a benchmark",
    "licence": "the licence is unknown or not among [licences] allow",
    "long": "too many lines, or too many characters for its kind",
    "encoded": "mostly base64, hex, escaped bytes or numbers",
    "xml": "an XML header, whatever its name",
    "markup": "a page on which a reader would see next to nothing",
    "comments": "hardly anything but comments",
    "fertility": "a token holds too few of its characters",
    "unparsable": "its grammar cannot read it",
    "repaired": "its bytes were no UTF-8; read as Windows-1252",
    "few_comments": "hardly any comments",
    "licence_conflict": "its header states another licence than its repository",
}
# These tell, and drop nothing unless the configuration says so.
INFORMATIVE = ("repaired", "few_comments", "licence_conflict")
# In this order: a document with several reasons is counted under the first.
DROP = tuple(name for name in TAGS if name not in INFORMATIVE)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Source(_Strict):
    skip: tuple[str, ...] = Field(default=(), description="patterns of paths, as */tests/*")
    weight: float = Field(
        default=1.0, gt=0, description="how often training draws from it, against others"
    )
    held_out: bool = Field(
        default=False, description="training never sees it; for held-out measures"
    )


class StdlibSource(_Source):
    """The standard library of the running interpreter (PSF-2.0)."""

    kind: Literal["stdlib"]
    name: str = "cpython"


class PackagesSource(_Source):
    """A folder that pip installed into; each package is a repository with its own licence."""

    kind: Literal["packages"]
    name: str = "packages"
    folder: Path
    held_out_repos: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class FolderSource(_Source):
    """A folder or a git checkout; .gitignore is respected."""

    kind: Literal["folder"]
    name: str
    folder: Path
    licence: str = ""
    repo_depth: int = Field(
        default=0, ge=0, le=4, description="path parts that name the repository"
    )


class TableSource(_Source):
    """Parquet or JSONL files with a row a file, as in The Stack v1 and v2, or posts as rows.

    Rows with a question and its answers are one document; a Posts.xml has a document a post.
    """

    kind: Literal["table"]
    name: str
    files: str = Field(description="path or glob; local or any fsspec address")
    licence: str = ""
    columns: dict[str, str] = Field(default_factory=dict, description="our name -> column")
    blobs: str = Field(
        default="",
        description="where a row's text lies if not in the table: s3://bucket/content/{blob_id}",
    )


class HubSource(_Source):
    """A data set of the Hugging Face Hub, read from there row by row, pinned when it is planned."""

    kind: Literal["hub"]
    name: str
    dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name")
    revision: str = Field(default="main", description="branch, tag or commit")
    files: str = Field(default="**/*.parquet", description="pattern of its files")
    licence: str = ""
    columns: dict[str, str] = Field(default_factory=dict, description="our name -> column")
    blobs: str = Field(default="", description="as of a table")

    @property
    def table(self) -> TableSource:
        """The same rows as a table."""
        place = f"hf://datasets/{self.dataset}@{self.revision}/{self.files}"
        return TableSource.model_validate(
            {**self.model_dump(exclude={"dataset", "revision"}), "kind": "table", "files": place}
        )


Source = Annotated[
    StdlibSource | PackagesSource | FolderSource | TableSource | HubSource,
    Field(discriminator="kind"),
]


class Reading(_Strict):
    """What of a file is read at all."""

    max_bytes: int = Field(default=1_000_000, gt=0)
    part_mb: int = Field(default=16, gt=0, le=512, description="raw text in one unit of work")


class Filters(_Strict):
    """Which tags drop a document, and the thresholds of those that measure."""

    drop: tuple[str, ...] = DROP
    languages: tuple[str, ...] = ()  # rows of languages.toml; empty: all of them
    bounds: Bounds = Bounds()
    by_extension: dict[str, dict[str, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Filters:
        for name in self.drop:
            if name not in TAGS:
                raise ValueError(f"drop: unknown tag {name!r}; choose from {', '.join(TAGS)}")
        for extension, fields in self.by_extension.items():
            if unknown := set(fields) - set(Bounds.model_fields):
                raise ValueError(f"by_extension.{extension}: unknown {', '.join(sorted(unknown))}")
        return self

    def bounds_of(self, extension: str) -> Bounds:
        """Thresholds for files with this extension."""
        return bounds_for(extension, self.bounds, self.by_extension)


class Licences(_Strict):
    """Which licences may be trained on."""

    allow: tuple[str, ...] = ()  # empty: the permissive ones of licences.py
    unknown: bool = Field(default=False, description="also files whose licence nobody stated")


class Dedup(_Strict):
    """Near duplicates: MinHash over n-grams of words, verified by the exact Jaccard index."""

    near: bool = True
    threshold: float = Field(default=0.7, gt=0, le=1)
    ngram: int = Field(default=5, ge=1, le=16)
    bands: int = Field(default=42, ge=1, le=256)
    rows: int = Field(default=6, ge=1, le=32)
    min_matches: int = Field(default=2, ge=1, description="bands that a candidate pair must share")


class Contamination(_Strict):
    """Benchmarks that the model will be asked: their tasks must not be learnt."""

    benchmarks: tuple[str, ...] = Field(default=(), description="empty: all that are present")
    files: dict[str, Path] = Field(
        default_factory=dict, description="benchmark -> its files, for those that are not bundled"
    )
    ngram: int = Field(default=6, ge=3, le=16)
    share: float = Field(
        default=0.8, gt=0, le=1, description="of a text's n-grams that must be in a document"
    )
    allow: tuple[str, ...] = Field(default=(), description="texts too trivial to be looked for")


class TokenizerConfig(_Strict):
    """An own vocabulary, or a tokenizer.json that is there."""

    vocab_size: int = Field(default=8192, ge=512)
    file: Path | None = None
    sample_mb: int = Field(default=40, gt=0)


class Privacy(_Strict):
    """People, addresses of machines and secrets, replaced in what leaves."""

    replace: bool = True


class Splits(_Strict):
    """Documents that training never sees: whole repositories by name, and a share of the paths."""

    held_out_share: float = Field(default=0.005, ge=0, le=0.5)


class DataConfig(_Strict):
    """All that decides what the shards hold; its digest is in their manifest."""

    seed: int = 0
    source: tuple[Source, ...] = Field(min_length=1)
    opt_out: Path | None = None
    read: Reading = Reading()
    filters: Filters = Filters()
    licences: Licences = Licences()
    contamination: Contamination = Contamination()
    dedup: Dedup = Dedup()
    tokenizer: TokenizerConfig = TokenizerConfig()
    splits: Splits = Splits()
    privacy: Privacy = Privacy()

    @model_validator(mode="after")
    def _distinct(self) -> DataConfig:
        names = [source.name for source in self.source]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"source: two are named {name!r}; give one another name")
        return self


def read_config(path: Path) -> DataConfig:
    """Parse and check a data.toml; relative folders in it start at the working folder.

    Raises:
        ConfigError: the file is missing, no TOML, or a field is wrong.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return DataConfig.model_validate(raw)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(p) for p in first["loc"]) or "file"
        raise ConfigError(f"{path}: {place}: {first['msg']}") from error
