"""What of the machine a sandboxed program can see, and what lies where in its file system.

The system's programs and libraries, a few public bits of /etc, the folders a toolchain names, all
read-only; never a home folder, this package, its repository, or the folder evalkit runs in, even
where they lie below one of those. Nothing here mounts: `bubblewrap.py` and `zygote.py` do.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BOX = "/box"
USER = "sandbox"

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
)
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What a language needs besides the system's own programs.

    binds: folders or files outside /usr, seen at their own place, read-only. path: searched for
    programs before the system's folders. env: variables of every command. hides: paths below the
    visible ones that must look empty.
    """

    binds: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    hides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """Everything one toolchain's programs see: real paths, links, and what is hidden of them."""

    binds: tuple[str, ...]
    links: Mapping[str, str]
    hides: tuple[str, ...]
    env: Mapping[str, str]


def python_toolchain() -> Toolchain:
    """Return the interpreter that runs evalkit, with the standard library and nothing else."""
    prefix = os.path.realpath(sys.base_prefix)
    library = f"{prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    return Toolchain(
        binds=() if _below_any(prefix, ("/usr",)) else (prefix,),
        path=(f"{prefix}/bin",),
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
        hides=(f"{library}/site-packages", f"{library}/dist-packages"),
    )


def view_of(toolchain: Toolchain) -> View:
    """Resolve a toolchain on this machine."""
    links, system = {}, ["/usr"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            links[str(path)] = os.readlink(path)
        elif path.is_dir():
            system.append(str(path))
    system += [f"/etc/{name}" for name in _ETC if Path("/etc", name).exists()]
    binds = (*system, *(bind for bind in toolchain.binds if Path(bind).exists()))
    hides = {*_private_folders(), *toolchain.hides}
    hidden = (path for path in sorted(hides) if Path(path).is_dir() and _below_any(path, binds))
    env = {
        "PATH": ":".join((*toolchain.path, *_PATH)),
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "USER": USER,
        "LANG": "C.UTF-8",
        **toolchain.env,
    }
    return View(binds, links, tuple(hidden), env)


def accounts(uid: int) -> dict[str, str]:
    """Return the files of /etc that name the only user there is."""
    return {
        "/etc/passwd": f"{USER}:x:{uid}:{uid}::/tmp:/bin/sh\n",
        "/etc/group": f"{USER}:x:{uid}:\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _private_folders() -> Iterator[str]:
    package = Path(__file__).resolve().parent.parent
    yield str(package)
    if (package.parent / "pyproject.toml").exists():
        yield str(package.parent)
    yield str(Path.cwd())
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield str(Path.home())


def _below_any(path: str, folders: tuple[str, ...]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)
