"""What a warden mounts once, in mounts of its own, so that each run has little left to do.

On the lobby, an empty folder, come: `disk`, where each run mounts its working folder; copies of
what bubblewrap, which runs as nobody, could not reach; and file systems for programs that go
without it, of Python and of the last other toolchain. Nothing of it is seen outside the warden.
Read `build` first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.sandbox import kernel
from evalkit.sandbox.mounts import BOX, View, accounts
from evalkit.sandbox.orders import Setup

# Where in a sandbox each writable folder of the disk is seen, and its mode.
WRITABLE = {"box": (BOX, 0o755), "tmp": ("/tmp", 0o1777), "shm": ("/dev/shm", 0o1777)}

_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_OPEN = ("/usr", "/etc", "/lib", "/bin", "/sbin")
_PYTHON = "python"
_SMALL = "size=1m,mode=0755"
_TMPFS_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV


@dataclass(slots=True)
class Stage:
    """Places on the lobby. copies: path → where it can also be reached."""

    disk: str
    lobby: str
    copies: Mapping[str, str] = field(default_factory=dict)
    _other: str | None = None  # "" is what a language without a toolchain of its own has

    def root_of(self, toolchain: str) -> str:
        """Where the file system of a toolchain's programs is mounted, once it is prepared."""
        return f"{self.lobby}/{'root' if toolchain == _PYTHON else 'other'}"

    def prepare(self, toolchain: str, view: View, user: int) -> None:
        """Mount a toolchain's file system, in place of the one before: every fork copies mounts."""
        if toolchain in (_PYTHON, self._other):
            return
        root = self.root_of(toolchain)
        if self._other is not None:
            kernel.unmount(root)
        self._other = None
        _mount_root(view, root, user)
        self._other = toolchain


def build(setup: Setup, user: int) -> Stage:
    """Enter namespaces of our own and mount. `user` is whom Python programs will be."""
    _own_mounts()
    kernel.mount("lobby", setup.lobby, "tmpfs", _TMPFS_FLAGS, _SMALL)
    stage = Stage(f"{setup.lobby}/disk", setup.lobby, _copy_closed(setup))
    os.mkdir(stage.disk)
    _mount_root(setup.views[_PYTHON], stage.root_of(_PYTHON), user)
    return stage


def _own_mounts() -> None:
    """Get mounts of our own; an ordinary user may have them within a user namespace."""
    if os.getuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNS)
    else:
        user, group = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
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


def _mount_root(view: View, root: str, user: int) -> None:
    os.makedirs(root, exist_ok=True)
    kernel.mount("root", root, "tmpfs", _TMPFS_FLAGS, _SMALL)
    try:
        _build_root(view, Path(root), user)
    except BaseException:
        kernel.unmount(root)
        raise


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
