"""What a language needs to be written, compiled and run: one folder of data in `sandboxes/`.

`runtime.toml` is read and checked here; `evalkit.rendering` writes prompts and programs with it,
`evalkit.nonce_judge` compiles and runs them, `evalkit.web_judge` shows pages in a browser,
`evalkit.toolchains` says whether the programs are there. Nothing in the code knows a language by
name. Every field is explained in docs/extending/language.md. Read `load_runtime` first.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tabwright.errors import ConfigError, UnknownLanguage

FOLDER = Path(__file__).resolve().parent.parent / "sandboxes"
_FILE = "runtime.toml"
Case = Literal["snake", "camel", "pascal", "kebab", "ada"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolchainRow(_Row):
    """Where the programs come from, Debian or npm. All of them must be found."""

    programs: tuple[str, ...] = Field(min_length=1)
    version: tuple[str, ...] = Field(min_length=1)
    debian: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    npm_programs: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    env: dict[str, str] = {}


class Step(_Row):
    """One command. Its bounds are raised to these where the judge's are lower.

    collect: files that the next step gets; files: folder's files that this step needs besides.
    """

    argv: tuple[str, ...] = Field(min_length=1)
    collect: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    env: dict[str, str] = {}
    memory_mb: int = 512
    processes: int = 64
    disk_mb: int = 64
    cpu_s: float = 60.0


class Literals(_Row):
    """How values are written. `lists` has what differs by the list's type; "" is the rest."""

    integer: str = "%value%"
    negative: str = "%value%"
    real: str = "%value%"
    true: str = "true"
    false: str = "false"
    string: str = '"%value%"'
    escapes: dict[str, str] = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    escape: str = ""
    escape_unit: Literal["byte", "utf16", "codepoint"] = "codepoint"
    list: str = ""
    separator: str = ", "
    lines: bool = False
    lists: dict[str, str] = {}
    empty: dict[str, str] = {}


class Names(_Row):
    """How names are spelled, and which ones the language keeps for itself."""

    function: Case = "snake"
    parameter: Case = "snake"
    reserved: tuple[str, ...] = ()


class PromptRow(_Row):
    """The form of a prompt. `declared`: what stands before it once for each type that occurs."""

    form: str
    signature: str
    parameter: str
    between: str = ", "
    call: str = "%name%(%arguments%)"
    example: str = "%call% => %value%"
    argument_between: str = ", "
    comment_open: str = ""
    comment_line: str
    comment_close: str = ""
    width: int = 88
    parameter_doc: str = ""
    returns_doc: str = ""
    types_between: str = ", "
    stop: tuple[str, ...] = Field(min_length=1)
    closing: str = ""
    declared: dict[str, str] = {}


class Runtime(_Row):
    """One language. `sources`: file of the program → template in the folder; see the page.

    documented: types as comments name them, where that is another way than `types`. browser: shows
    what is written in the language, in place of everything that computes values.
    """

    name: str
    folder: Path
    toolchain: ToolchainRow
    types: dict[str, str] = {}
    documented: dict[str, str] = {}
    literals: Literals = Literals()
    names: Names = Names()
    prompt: PromptRow
    sources: dict[str, str] = {}
    case: str = ""
    support: dict[str, str] = {}
    prepare: Step | None = None
    compile: Step | None = None
    check: Step | None = None
    run: Step | None = None
    browser: Step | None = None

    def template(self, name: str) -> str:
        """Read a file of the folder."""
        return (self.folder / name).read_text(encoding="utf-8")


def runtime_names(root: Path = FOLDER) -> list[str]:
    """Every language that has a folder."""
    return sorted(path.parent.name for path in root.glob(f"*/{_FILE}"))


def neutral_languages(root: Path = FOLDER) -> list[str]:
    """The languages that have values, so that neutral problems can be written in them."""
    return [name for name in runtime_names(root) if load_runtime(name, root).types]


@cache
def load_runtime(language: str, root: Path = FOLDER) -> Runtime:
    """Read one language.

    Raises:
        UnknownLanguage: there is no such folder.
        ConfigError: its file has a wrong value; the message names the file and the key.
    """
    names = runtime_names(root)
    if language not in names:
        near = difflib.get_close_matches(language, names, n=3) or names
        raise UnknownLanguage(f"no runtime for {language!r} in {root.name}/: {', '.join(near)}")
    folder = root / language
    path = folder / _FILE
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        runtime = Runtime.model_validate({**fields, "name": language, "folder": folder})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {_faults(error)}") from None
    _check(runtime, path)
    return runtime


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()
    )


def _check(runtime: Runtime, path: Path) -> None:
    """Refuse what only shows when the parts are seen together."""
    if runtime.browser is not None:
        if runtime.types or runtime.sources:
            raise ConfigError(f"{path}: browser: shows pages; types and sources compute values")
        return
    missing = [
        kind for kind in ("int", "float", "str", "bool", "list") if kind not in runtime.types
    ]
    if missing and not {"float", "list"} >= set(missing):
        raise ConfigError(f"{path}: types: lacks {', '.join(missing)}")
    steps = (runtime.prepare, runtime.compile, runtime.check, runtime.run)
    needed = {*runtime.sources.values(), *(name for step in steps if step for name in step.files)}
    for name in sorted(needed):
        if not (runtime.folder / name).is_file():
            raise ConfigError(f"{path}: names {name}, which is not in its folder")
    if bool(runtime.sources) != (runtime.run is not None):
        raise ConfigError(f"{path}: sources and run belong together; give both, or neither")
    if runtime.compile is not None and not runtime.compile.collect:
        raise ConfigError(f"{path}: compile.collect: name the files that are run")
    if runtime.sources and "%call%" not in runtime.case:
        raise ConfigError(f"{path}: case: must hold %call%")
