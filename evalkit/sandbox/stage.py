"""What a warden mounts once, in mounts of its own, so that each run has little left to do.

On the lobby, an empty folder, come `disk`, where a run through bubblewrap mounts its working
folder, and copies of what bubblewrap, which runs as nobody, could not reach. Programs that go
without it get a copy of mounts that are prepared apart, for Python and for the last other
toolchain: there is nothing in them but what a program sees, so that little is copied and nothing
has to be taken away. Nothing of all this is seen outside the warden. Read `build` first.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evalkit.sandbox import kernel
from evalkit.sandbox.mounts import BOX, View, accounts
from evalkit.sandbox.orders import Setup

# Where in a sandbox each writable folder of the disk is seen, and its mode. The disk itself may be
# mounted on the last one, which then covers it.
WRITABLE = {"box": (BOX, 0o755), "shm": ("/dev/shm", 0o1777), "tmp": ("/tmp", 0o1777)}

_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_OPEN = ("/usr", "/etc", "/lib", "/bin", "/sbin")
_PYTHON = "python"
_MOUNTS = "/proc/self/ns/mnt"
_SMALL = "size=1m,mode=0755"
_TMPFS_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV
SAFE_FLAGS = _TMPFS_FLAGS | kernel.MS_NOEXEC


@dataclass(slots=True)
class Stage:
    """What is mounted. copies: path → where it can also be reached.

    shows_host: in the prepared mounts is the machine's own /proc, for the run to take away: in a
    user namespace nobody may mount another who does not see all of one.
    """

    disk: str
    copies: Mapping[str, str]
    shows_host: bool
    _user: int
    _python: int
    _other: tuple[str, int] | None = None

    def mounts_of(self, toolchain: str, view: View) -> int:
        """The mounts that programs of a toolchain get a copy of; a descriptor, not to be closed."""
        if toolchain == _PYTHON:
            return self._python
        if self._other is None or self._other[0] != toolchain:
            if self._other is not None:
                os.close(self._other[1])
                self._other = None
            apart = _mounts_apart(view, self.disk, self._user, shows_host=self.shows_host)
            self._other = toolchain, apart
        return self._other[1]


def build(setup: Setup, user: int) -> Stage:
    """Enter namespaces of our own and mount. `user` is whom Python programs will be."""
    _own_mounts()
    # All sandboxes copy it.
    socket.sethostname("sandbox")
    kernel.mount("lobby", setup.lobby, "tmpfs", _TMPFS_FLAGS, _SMALL)
    disk = f"{setup.lobby}/disk"
    os.mkdir(disk)
    shows_host = not _in_first_user_namespace()
    python = _mounts_apart(setup.views[_PYTHON], disk, user, shows_host=shows_host)
    return Stage(disk, _copy_closed(setup), shows_host, user, python)


def _in_first_user_namespace() -> bool:
    """Say whether no user namespace is around us: all users are there, under their own number."""
    ranges = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return ranges == ["0", "0", str((1 << 32) - 1)]


def _own_mounts() -> None:
    """Get mounts of our own; an ordinary user may have them within a user namespace."""
    if os.getuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
    else:
        user, group = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def _copy_closed(setup: Setup) -> dict[str, str]:
    """Bind what may lie in folders closed to other users to where everybody may go."""
    binds = {path for view in setup.views.values() for path in view.binds}
    copies = {}
    # The system's own are open to everybody, and its files in /etc may be replaced meanwhile.
    for number, path in enumerate(sorted(p for p in binds if not p.startswith(_OPEN))):
        copies[path] = f"{setup.lobby}/{number}"
        _bind(path, Path(copies[path]))
    return copies


def _mounts_apart(view: View, place: str, user: int, *, shows_host: bool) -> int:
    """Build a toolchain's file system in mounts of its own; return the descriptor of those.

    place: an empty folder.
    """
    here = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        apart = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.mount("root", place, "tmpfs", _TMPFS_FLAGS, _SMALL)
            _build_root(view, Path(place), user)
            if shows_host:
                kernel.mount("/proc", f"{place}/proc", None, kernel.MS_BIND | kernel.MS_REC)
            read_only = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | SAFE_FLAGS
            kernel.mount("none", place, None, read_only)
            kernel.change_root(place)
        except BaseException:
            os.close(apart)
            raise
        finally:
            kernel.enter_namespaces(here, kernel.CLONE_NEWNS)
        return apart
    finally:
        os.close(here)


def _build_root(view: View, root: Path, user: int) -> None:
    for path in view.binds:
        place = _inside(root, path)
        _bind(path, place)
        kernel.make_read_only(str(place))
    for path, target in view.links.items():
        _inside(root, path).symlink_to(target)
    for path, text in accounts(user).items():
        place = _inside(root, path)
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="ascii")
    for path in view.hides:
        kernel.mount("hidden", str(_inside(root, path)), "tmpfs", _TMPFS_FLAGS, "size=4k,mode=0555")
        kernel.make_read_only(str(_inside(root, path)))
    for folder in ("proc", "dev", *(path.lstrip("/") for path, _ in WRITABLE.values())):
        (root / folder).mkdir(exist_ok=True)
    for name in _DEVICES:
        _bind(f"/dev/{name}", root / "dev" / name)
        kernel.make_read_only(str(root / "dev" / name), devices=True)
    for name, target in _DEVICE_LINKS.items():
        (root / "dev" / name).symlink_to(f"/proc/self/{target}")


def _bind(path: str, place: Path) -> None:
    if Path(path).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    kernel.mount(path, str(place), None, kernel.MS_BIND | kernel.MS_REC)


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
