"""How the test programs of a benchmark are compiled and run: `tests.toml` in a language's folder.

A benchmark that tests by a program, whose asserts run in the process of the candidate, has a form
in every language it is judged in. A form says where a program's last test ends, how it then tells
so, and where in its text expected values stand. Nothing is judged here: `evalkit.canary_judge`
does. Every field is explained in docs/extending/language.md. Read `load_form` first.
"""

from __future__ import annotations

import glob
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.rendering import filled
from evalkit.runtimes import FOLDER, Runtime, Step
from evalkit.toolchains import ToolchainMissing
from tabwright.errors import ConfigError, UnknownLanguage

_FILE = "tests.toml"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Needs(_Row):
    """What test programs use besides the toolchain. present: patterns of files, all there."""

    debian: tuple[str, ...]
    present: tuple[str, ...]


class Imports(_Row):
    """Imports that a language refuses where they are not used: made from what a program uses.

    known: name → path; used: how a use of %name% looks; taken: imports that are written out.
    """

    known: dict[str, str]
    used: str
    line: str
    taken: str


class Form(_Row):
    """One kind of test program in one language.

    sources: file → its text with marks; files: file → a file of the folder. done: what tells
    that the last test is behind; at: what it stands in front of (at the end, where it is empty).
    rewrite: patterns in the tests and what stands there instead. asserted: what an assert compares;
    call: how a call of the candidate begins in it; list_call: its parenthesis stands in front of
    the name. unfit, unfit_prompts: patterns of tests and of prompts that nothing can pass, and why;
    wrong: tasks that are wrong upstream, and why; spoiled: of tests that expect no literal, a text
    and what makes them wrong; under * for all that have that text.
    prepare: what is made once for all compilations.
    """

    needs: Needs | None = None
    sources: dict[str, str] = Field(min_length=1)
    done: str
    at: str = ""
    rewrite: tuple[tuple[str, str], ...] = ()
    asserted: str
    call: str = r"\bcandidate"
    list_call: bool = False
    imports: Imports | None = None
    files: dict[str, str] = {}
    unfit: tuple[tuple[str, str], ...] = ()
    unfit_prompts: tuple[tuple[str, str], ...] = ()
    wrong: dict[str, str] = {}
    spoiled: dict[str, tuple[str, str]] = {}
    prepare: Step | None = None
    compile: Step | None = None
    check: Step | None = None
    run: Step


def form_names(language: str, root: Path = FOLDER) -> list[str]:
    """The benchmarks whose test programs can be run in a language."""
    path = root / language / _FILE
    return sorted(_tables(path)) if path.is_file() else []


@cache
def load_form(language: str, name: str, root: Path = FOLDER) -> Form:
    """Read one form.

    Raises:
        UnknownLanguage: the benchmark has no form in it.
        ConfigError: the file has a wrong value; the message names the file and the key.
    """
    path = root / language / _FILE
    if name not in form_names(language, root):
        raise UnknownLanguage(f"test programs of {name} are not judged in {language}")
    try:
        return Form.model_validate(_tables(path)[name])
    except ValidationError as error:
        faults = "; ".join(
            f"{name}.{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}"
            for fault in error.errors()
        )
        raise ConfigError(f"{path}: {faults}") from None


def require_needs(form: Form) -> None:
    """Make sure that the libraries of test programs are here.

    Raises:
        ToolchainMissing: they are not.
    """
    if form.needs is None:
        return
    for pattern in form.needs.present:
        if not glob.glob(pattern):
            packages = " ".join(form.needs.debian)
            raise ToolchainMissing(f"{pattern} is not here; run: apt-get install {packages}")


def fault_of(form: Form, task_id: str, prompt: str, tests: str) -> str:
    """Why a task cannot be judged; nothing if it can."""
    if task_id in form.wrong:
        return form.wrong[task_id]
    known = [(tests, *row) for row in form.unfit] + [(prompt, *row) for row in form.unfit_prompts]
    return next((why for text, at, why in known if re.search(at, text, re.MULTILINE)), "")


def program_files(
    form: Form, runtime: Runtime, head: str, solution: str, tests: str
) -> dict[str, bytes]:
    """Write every file of the program that runs `tests` on `solution`."""
    texts = {"head": head, "solution": solution, "tests": ended(form, tests)}
    if form.imports is not None:
        texts = _imported(form.imports, texts)
    files = {name: filled(text, **texts) for name, text in form.sources.items()}
    files |= {name: runtime.template(template) for name, template in form.files.items()}
    return {name: text.encode() for name, text in files.items()}


def ended(form: Form, tests: str) -> str:
    """The tests, and behind the last one what tells that it was reached."""
    for pattern, text in form.rewrite:
        tests = re.sub(pattern, text, tests)
    if "%done%" in tests:
        return tests.replace("%done%", form.done)
    if not form.at:
        return f"{tests.rstrip()}\n{form.done}\n"
    found = list(re.finditer(form.at, tests))
    if not found:
        return tests  # nothing tells the end, so nothing can pass
    place = found[-1].start()
    return f"{tests[:place]}{form.done}\n{tests[place:]}"


def _imported(imports: Imports, texts: Mapping[str, str]) -> dict[str, str]:
    """Take out what is imported in head and solution, and import what is used."""
    bare = {
        name: re.sub(imports.taken, "", text, flags=re.MULTILINE) for name, text in texts.items()
    }
    whole = "\n".join(bare.values())
    lines = [
        filled(imports.line, name=name, path=path)
        for name, path in imports.known.items()
        if re.search(filled(imports.used, name=re.escape(name)), whole)
    ]
    return {**bare, "imports": "\n".join(lines)}


@cache
def _tables(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
