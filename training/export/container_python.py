"""The Python of NVIDIA's container, as far as a CPU can have it: transformers 4.57.3 and ModelOpt.

These versions cannot stand beside those that train, so they live in an environment of their own:
made by pip on first use, kept in the user's cache, found again by the hash of what is in it. torch
it borrows from the environment that runs this. Read `container_python` first.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabwright.errors import EnvironmentMissing, MissingExtra, ValidationFailed

logger = logging.getLogger(__name__)
FOLDER_VARIABLE = "TABWRIGHT_CONTAINER_PYTHON"
PATIENCE_S = 900.0
_REQUIREMENTS = Path(__file__).with_name("container_requirements.txt")


def container_python(environ: Mapping[str, str] = os.environ) -> Path:
    """The interpreter, after making its environment if there is none.

    TABWRIGHT_CONTAINER_PYTHON in `environ` names another folder for it.

    Raises:
        EnvironmentMissing: it cannot be made: no network, no room, or not in time.
        MissingExtra: there is no torch to borrow.
    """
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        raise MissingExtra("torch", "train")
    borrowed = Path(torch.origin).parents[1]
    folder = _folder(environ, borrowed)
    python = folder / "bin" / "python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making it
            if not python.exists():
                _make(folder, borrowed)
    return python


def run_in_container_python(
    python: Path, script: Path, arguments: Sequence[object], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a script of ours there, `given` on its stdin as JSON; return the JSON it prints last.

    Raises:
        ValidationFailed: the script failed; its last words are in the message.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            [python, script, *map(str, arguments)], input=json.dumps(given), text=True,
            capture_output=True, timeout=PATIENCE_S, check=False,
            env=environment | {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ValidationFailed(f"{script.stem} took more than {PATIENCE_S:.0f} s") from error
    if done.returncode != 0:
        last = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise ValidationFailed(f"{script.stem} failed: {last[-600:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _folder(environ: Mapping[str, str], borrowed: Path) -> Path:
    if chosen := environ.get(FOLDER_VARIABLE):
        return Path(chosen).absolute()
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = f"{_REQUIREMENTS.read_text('utf-8')}{sys.version}{borrowed}"
    return cache / "tabwright" / f"container-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _make(folder: Path, borrowed: Path) -> None:
    """Build it under another name, so that a folder of this name is complete."""
    logger.warning("installing transformers 4.57.3 and ModelOpt: once, about a minute")
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    python = work / "bin" / "python"
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--quiet",
    ]
    # ModelOpt asks for more than quantising needs, so nothing is installed that is not listed.
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", work],
        [*pip, "--no-deps", "--requirement", _REQUIREMENTS],
    ]
    try:
        for command in commands:
            subprocess.run(
                command, check=True, timeout=PATIENCE_S / 2, capture_output=True, text=True
            )
        [packages] = work.glob("lib/python3.*/site-packages")
        (packages / "zz-torch.pth").write_text(f"{borrowed}\n", "utf-8")
        work.rename(folder)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1:]
        raise EnvironmentMissing(
            f"the Python of NVIDIA's container cannot be made in {folder.parent}: "
            f"{' '.join(said)[:300]}; name a folder that has it with {FOLDER_VARIABLE}"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
