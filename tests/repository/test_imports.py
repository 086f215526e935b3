"""Importing is free of side effects and of heavy libraries, and arrows point where they may."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.repository.sources import PACKAGES, ROOT, modules, normal, python_files

HEAVY = {"torch", "transformers", "openvino", "openvino_genai", "tritonclient", "redis", "locust"}
ON_USE = {"ab.stores.redis", "ab.many", "ab.simulation"}  # imported when they are asked for
WEB = {"fastapi", "starlette", "uvicorn"}


def clean_python(code: str, *args: str, cwd: Path = ROOT, timeout_s: float = 120) -> str:
    """Run code in a new interpreter that inherits nothing but PATH; return its output."""
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error::SyntaxWarning"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def loaded_by(*names: str) -> set[str]:
    """Top-level modules in memory after importing `names`."""
    code = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    return set(json.loads(clean_python(code, *names)))


def test_every_module_imports_in_a_clean_environment_and_prints_nothing() -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    assert clean_python(code, *modules()) == ""


def test_each_package_comes_from_this_repository(tmp_path: Path) -> None:
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    )
    # Not the root, so that what is installed answers: an impostor `server` would show here.
    found = clean_python(code, *PACKAGES, cwd=tmp_path).splitlines()
    assert found == [str(ROOT / package / "__init__.py") for package in PACKAGES]


def test_the_gateway_imports_without_torch_or_an_engine_library() -> None:
    assert not loaded_by("server.app", "server.cli") & HEAVY


def test_the_commands_and_the_vocabulary_import_without_anything_heavy() -> None:
    light = [name for name in modules() if name.split(".")[0] in ("tabwright", "evalkit", "ab")]
    light = [name for name in light if name not in ON_USE]
    assert not loaded_by(*light) & (HEAVY | WEB | {"numpy"})


def test_the_import_rules_are_kept() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--config",
            "pyproject.toml",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    declared = {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in wanted}
    declared |= {"pydantic-core", "annotated-types"}  # pydantic's own halves
    # What Triton and its container bring to the model that runs inside them.
    inside = {"triton_python_backend_utils", "tensorrt_llm", "local_llm"}
    # What runs in an environment of its own: the container's packages, what we measure against.
    inside |= {"modelopt", "datatrove", "loguru"}
    inside |= {"torchao"}  # only of use on a GPU that multiplies in 8 bits; asked for by name there
    owners = packages_distributions()
    own = {*PACKAGES, "docs", "tests", "__future__"} | sys.stdlib_module_names | inside
    found = {name: path for path in python_files() for name in imported(path) if name not in own}
    undeclared = {
        f"{path}: {name}"
        for name, path in found.items()
        if not {normal(owner) for owner in owners.get(name, [name])} & declared
    }
    assert not undeclared


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_no_script_hides_a_module_of_the_standard_library() -> None:
    """A script's folder is searched first: `secrets.py` beside it is then `secrets`."""
    scripts = (ROOT / "docs" / "results").glob("*.py")
    assert not {path.stem for path in scripts} & sys.stdlib_module_names
