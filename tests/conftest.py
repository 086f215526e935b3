"""What all tests share: the async backend, and services that may be missing.

`@pytest.mark.needs("nginx")` skips a test where nginx is not installed. Under `--require nginx` a
missing nginx is an error instead, so that a CI job cannot go green by skipping what it is for.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from evalkit.runtimes import load_runtime
from evalkit.toolchains import missing_programs
from tests.fakes import docker_engine, small_disk
from tests.fakes.browser import program as browser_program

# What tests/system_packages.sh brings; other languages are the long tail.
CORE_LANGUAGES = ("c", "cpp", "go", "javascript", "python")
CLIENTS = Path(__file__).parent / "integration" / "clients"


def _package(*names: str) -> str | None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def _sandbox() -> str | None:
    return None if shutil.which("bwrap") else "bubblewrap not installed (Debian: bubblewrap)"


def _nginx() -> str | None:
    found = shutil.which("nginx", path=None) or shutil.which("nginx", path="/usr/sbin:/sbin")
    if not found:
        return "nginx not installed (Debian: nginx-light)"
    return None if shutil.which("openssl") else "openssl not installed, which makes certificates"


def _node() -> str | None:
    if shutil.which("node") is None:
        return "node not installed"
    wanted = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    missing = [name for name in wanted if not (CLIENTS / "node_modules" / name).is_dir()]
    return (
        f"{', '.join(missing)} not installed (npm ci in tests/integration/clients)"
        if missing
        else None
    )


def _languages() -> str | None:
    """The core ones, which `make test` must judge."""
    lacking = [name for name in CORE_LANGUAGES if missing_programs(load_runtime(name))]
    return f"no toolchain of {', '.join(lacking)} (evalkit toolchains install)" if lacking else None


def _chromium() -> str | None:
    missing = missing_programs(load_runtime("html"))
    return (
        f"{missing[0]} not installed (evalkit toolchains install --lang html)" if missing else None
    )


def _browser() -> str | None:
    if browser_program() is None:
        return "no browser installed (Debian: chromium-headless-shell)"
    return _package("playwright")


def _redis() -> str | None:
    if shutil.which("redis-server") is None:
        return "redis-server not installed (Debian: redis-server)"
    return _package("redis")


def _llama_vim() -> str | None:
    """In no package registry, so nothing here fetches it."""
    if shutil.which("vim") is None or shutil.which("curl") is None:
        return "vim and curl are needed to run llama.vim"
    if not (Path(os.environ.get("LLAMA_VIM", "-")) / "autoload" / "llama.vim").is_file():
        return "llama.vim not found: set LLAMA_VIM to the plug-in's folder"
    return None


def _triton() -> str | None:
    from tests.fakes.triton_server import missing

    return missing() or _package("tritonclient", "grpc")


@cache
def _container_python() -> str | None:
    """Makes it the first time, which takes about a minute and is kept for all later runs."""
    if reason := _package("torch", "transformers"):
        return reason
    from tabwright.errors import EnvironmentMissing
    from training.export.container_python import container_python

    try:
        container_python()
    except EnvironmentMissing as error:
        return str(error)
    return None


# Each answers with the reason why the service is missing, or None.
SERVICES: dict[str, Callable[[], str | None]] = {
    "cpu": lambda: _package("openvino", "openvino_genai"),
    "openvino": lambda: _package("openvino", "openvino_genai"),
    "torch": lambda: _package("torch", "transformers"),
    "node": _node,
    "nginx": _nginx,
    "redis": _redis,
    "small disk": small_disk.missing,
    "llama.vim": _llama_vim,
    "sandbox": _sandbox,
    "docker": lambda: _package("docker") or docker_engine.missing(),
    "languages": _languages,
    "chromium": _chromium,
    "browser": _browser,
    "ray": lambda: _package("ray", "psutil"),
    "tracking": lambda: _package("wandb", "tensorboard"),
    "flow": lambda: _package("metaflow"),
    "triton": _triton,
    "container-python": _container_python,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="NAME",
        help=f"fail when this service is missing, repeatable: {', '.join(SERVICES)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(name): skip where this service is missing")
    for name in config.getoption("--require"):
        if name not in SERVICES:
            raise pytest.UsageError(f"--require {name}: known are {', '.join(SERVICES)}")
        if reason := SERVICES[name]():
            raise pytest.UsageError(f"--require {name}: {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        if reason := SERVICES[marker.args[0]]():
            pytest.skip(reason)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
