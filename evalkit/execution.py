"""What a sandbox is asked to do with untrusted files, and what it saw them do.

Everything here is a value. A program that fails, floods or is killed is described, never raised;
only a sandbox that cannot do its work raises (`SandboxUnavailable`, `SandboxFailed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Ending(StrEnum):
    """How a command ended. Of several that are true the first one here counts."""

    MEMORY = "memory"
    OUTPUT = "output"
    CPU_TIME = "cpu_time"
    WALL_TIME = "wall_time"
    SIGNAL = "signal"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use.

    cpu_s: processor time of all its processes together, which is what is judged; wall_s: the guard
    against sleeping, generous because machines differ. output_bytes: kept of stdout and of stderr
    each; more than four times as much ends the command. disk_mb, files: of the working folder.
    """

    cpu_s: float = 10.0
    wall_s: float = 60.0
    memory_mb: int = 1024
    processes: int = 64
    output_bytes: int = 1 << 20
    disk_mb: int = 64
    files: int = 4096


@dataclass(frozen=True, slots=True)
class Command:
    """One command in a fresh sandbox, which sees nothing but its toolchain and these files.

    argv: the program, by absolute path or by name in the toolchain's PATH. files: relative path →
    content, in the working folder before the start, every one executable. collect: relative paths
    of files to read back after an exit with 0 (a compiled binary). toolchain: the language's name,
    which picks the image of a container backend and what is mounted. light: it needs neither a
    loopback interface nor terminals, so that a sandbox may be built without them, which is quicker.
    """

    argv: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = field(default=b"", repr=False)
    collect: tuple[str, ...] = ()
    toolchain: str = "python"
    light: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """What was seen of one command.

    code: exit status, None unless it exited; signal: what killed it, None unless one did. peak_mb:
    None where the machine cannot tell. files: what was collected.
    """

    ending: Ending
    code: int | None
    signal: int | None
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    cpu_s: float
    wall_s: float
    peak_mb: float | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether it exited by itself with 0. Says nothing about being right."""
        return self.ending is Ending.EXIT and self.code == 0
