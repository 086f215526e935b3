"""Where raw code comes from: the standard library, installed packages, folders.

A `sources.toml` lists them. Only files with a permissive licence are read: for installed packages
the licence is the one in the package's own metadata. Near-duplicates, secrets and other languages
are not looked for here.

    [[source]]
    kind = "stdlib"                 # of the interpreter that runs this
    [[source]]
    kind = "packages"               # a folder that pip installed into
    folder = "data/site"
    held_out = ["httpx"]            # whole projects that training never sees
    [[source]]
    kind = "folder"
    folder = "~/our-code"
    licence = "Apache-2.0"
"""

from __future__ import annotations

import fnmatch
import re
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tabwright.errors import ConfigError
from training.data.document import Document

SKIPPED = (
    "*/test/*",
    "*/tests/*",
    "*/testing/*",
    "test_*",
    "*/test_*",
    "*_test.py",
    "*/_vendor/*",
    "*/vendored/*",
    "*/vendor/*",
    "*/idlelib/*",
    "*/lib2to3/*",
    "*/site-packages/*",
    "*/migrations/*",
    "*/locale/*",
    "*/encodings/*",
    "*_pb2.py",
)
_CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
}
_PERMISSIVE = re.compile(
    r"^(mit(-cmu|-0)?|bsd.*|new bsd.*|modified bsd.*|[23]-clause bsd.*|apache.*|psf-2\.0|"
    r"python-2\.0.*|isc.*|0bsd|unlicense|zlib|hpnd|cc0-1\.0)$",
    re.IGNORECASE,
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StdlibSource(_Strict):
    """The standard library of the running interpreter (PSF-2.0)."""

    kind: Literal["stdlib"]


class PackagesSource(_Strict):
    """A folder of installed packages; those without a permissive licence are passed over."""

    kind: Literal["packages"]
    folder: Path
    held_out: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class FolderSource(_Strict):
    """A folder of Python files under one licence."""

    kind: Literal["folder"]
    folder: Path
    licence: str
    held_out: bool = False


class Sources(_Strict):
    """A parsed `sources.toml`."""

    source: tuple[
        Annotated[StdlibSource | PackagesSource | FolderSource, Field(discriminator="kind")], ...
    ]


@dataclass(frozen=True, slots=True)
class Origin:
    """One project of a source: its files, its licence, and whether training may see it."""

    name: str
    licence: str
    root: Path
    files: tuple[Path, ...]
    held_out: bool = False

    def documents(self) -> Iterator[Document]:
        """Read the files that are valid UTF-8, in order of their paths."""
        for file in self.files:
            try:
                text = file.read_bytes().decode("utf-8").replace("\r\n", "\n")
            except (UnicodeDecodeError, FileNotFoundError):
                continue
            path = file.relative_to(self.root).as_posix()
            yield Document(text, path, self.name, self.licence, "python")


def read_sources(path: Path) -> list[Origin]:
    """Find every project that the file at `path` names.

    Raises:
        ConfigError: the file is missing or wrong, or a folder does not exist.
    """
    try:
        parsed = Sources.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    origins: list[Origin] = []
    for source in parsed.source:
        match source:
            case StdlibSource():
                origins.append(_stdlib())
            case PackagesSource():
                origins.extend(_packages(source))
            case FolderSource():
                root = _existing(source.folder)
                files = tuple(sorted(root.rglob("*.py")))
                origins.append(Origin(root.name, source.licence, root, files, source.held_out))
    return origins


def _stdlib() -> Origin:
    root = Path(sysconfig.get_path("stdlib"))
    files = (f for f in root.rglob("*.py") if not _skipped("/" + f.relative_to(root).as_posix()))
    return Origin("cpython", "PSF-2.0", root, tuple(sorted(files)))


def _packages(source: PackagesSource) -> Iterator[Origin]:
    root = _existing(source.folder)
    for info in sorted(root.glob("*.dist-info")):
        package = PathDistribution(info)
        name, licence = package.metadata["Name"].lower(), permissive_licence(package)
        if licence is None or name in source.exclude:
            continue
        paths = sorted(str(p) for p in package.files or () if str(p).endswith(".py"))
        files = tuple(root / p for p in paths if not p.startswith("..") and not _skipped("/" + p))
        yield Origin(
            f"{name}=={package.version}", licence, root, files, held_out=name in source.held_out
        )


def permissive_licence(package: Distribution) -> str | None:
    """SPDX-like name of a package's permissive licence; None when it has another or none."""
    metadata = package.metadata
    expression = metadata["License-Expression"]
    if expression:
        parts = re.split(r"\s+(?:OR|AND)\s+|[()]", expression)
        return expression if all(_PERMISSIVE.match(p) for p in parts if p) else None
    found = [c.rsplit(" :: ", 1)[-1] for c in metadata.get_all("Classifier") or ()
             if c.startswith("License ::")]  # fmt: skip
    if found:
        names = [_CLASSIFIERS.get(c) for c in found]
        return " AND ".join(n for n in names if n) if all(names) else None
    line = (metadata["License"] or "").strip().split("\n")[0]
    return line if _PERMISSIVE.match(line) else None


def _existing(folder: Path) -> Path:
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(f"source folder {folder} does not exist")
    return root


def _skipped(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in SKIPPED)
