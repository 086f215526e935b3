"""A disk of a few megabytes that can be full and can grow, in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A folder that is a small disk for who runs `inside`."""

    folder: Path
    holder: int

    @property
    def inside(self) -> Sequence[str]:
        """Words before a command that is to see the disk."""
        return ("nsenter", "-t", str(self.holder), "-U", "-m", "--preserve-credentials")

    @property
    def seen(self) -> Path:
        """The folder as it can be read from outside."""
        return Path(f"/proc/{self.holder}/root{self.folder}")

    def grow(self, megabytes: int) -> None:
        size = f"remount,size={megabytes}m"
        subprocess.run([*self.inside, "mount", "-o", size, str(self.folder)], check=True)


def missing() -> str | None:
    """Why there cannot be one, None where there can."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "unshare and nsenter not installed (Debian: util-linux)"
    done = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True
    )
    return f"no mount namespaces here: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Put one at `folder` for the length of the block."""
    folder.mkdir()
    script = 'mount -t tmpfs -o "size=$2m" tmpfs "$1" && echo there && exec cat'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(folder), str(megabytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        try:
            yield SmallDisk(folder, holder.pid)
        finally:
            holder.kill()
