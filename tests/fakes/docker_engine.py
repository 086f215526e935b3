"""A real container engine, started by hand: Debian's dockerd in a folder of its own.

Its images are built from `sandboxes/` on a base of Debian packages, for where no registry is
reached. `engine` is the way in. Needs root, and the packages docker.io and mmdebstrap.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from evalkit.runtimes import FOLDER

IMAGES = ("python", "c")
PROGRAMS = ("dockerd", "docker", "mmdebstrap")
_PATIENCE_S = 60.0
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> str | None:
    """Say why it cannot run here, or None."""
    if os.getuid() != 0:
        return "dockerd needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"{', '.join(absent)} not installed (Debian: docker.io mmdebstrap)" if absent else None


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Run an engine inside the block; give its address."""
    address = f"unix://{folder}/docker.sock"
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    quiet = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false"]
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(
            ["dockerd", "-H", address, "--pidfile", f"{folder}/pid", *places, *quiet],
            env={"PATH": PATH},
            stdout=log,
            stderr=log,
        ) as daemon,
    ):
        try:
            _await(folder / "docker.sock", daemon)
            _build_images(address, folder / "base.tar")
            yield address
        finally:
            daemon.terminate()
            daemon.wait(_PATIENCE_S)
            _clean(folder)


def _clean(folder: Path) -> None:
    """Unmount what an engine leaves mounted, its own network namespace at least, and remove all."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed(mounted):
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", place], env={"PATH": PATH}, check=True)
    shutil.rmtree(folder)


def _await(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not path.exists():
        assert daemon.poll() is None, (path.parent / "log").read_text()[-2000:]
        assert time.monotonic() < deadline, "dockerd did not come up"
        time.sleep(0.1)


def _build_images(address: str, base: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm"]
    subprocess.run([*command, str(base)], env={"PATH": PATH}, check=True)
    client = ["docker", "-H", address]
    _quietly([*client, "import", str(base), "evalkit-base"])
    for language in IMAGES:
        # There is no bridge, so packages are fetched over the network of this machine.
        options = ["--network", "host", "--build-arg", "BASE=evalkit-base"]
        tag = ["-t", f"evalkit-{language}"]
        _quietly([*client, "build", *options, *tag, str(FOLDER / language)])


def _quietly(command: list[str]) -> None:
    # The builder that every engine brings; the other one is a package of its own.
    env = {"PATH": PATH, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
