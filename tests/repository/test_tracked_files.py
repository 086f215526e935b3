"""What is committed names no machine, no registry and no lock that disagrees with the project."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from tests.repository.sources import ROOT, normal, tracked

TEXT = {".py", ".toml", ".md", ".txt", ".sh", ".yml", ".yaml", ".json", ".js", ".mjs", ".conf", ""}
MAX_MB = 25

# Put together from pieces, so that this file is not what it finds.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(
        r"(?<![\w.~*:])/(?:wo" + r"rk|ro" + r"ot|o" + r"pt)/"
    ),
    "a package registry": re.compile(
        r"pypi\." + r"org|pythonhosted\." + r"org|npmjs\." + r"(?:org|com)|deb\.debian\." + r"org"
        r"|--(?:extra-)?index-" + r"url|--reg" + r"istry"
    ),
}


def texts() -> list[Path]:
    return [p for p in tracked() if p.suffix in TEXT and (ROOT / p).stat().st_size < 2_000_000]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in texts():
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        found += [
            f"{path}: {what}: {match.group()}"
            for what, pattern in FORBIDDEN.items()
            if (match := pattern.search(text))
        ]
    assert not found


def test_npm_locks_record_no_download_address() -> None:
    for path in tracked():
        if path.name == "package-lock.json":
            packages = json.loads((ROOT / path).read_text(encoding="utf-8"))["packages"]
            assert not [name for name, row in packages.items() if "resolved" in row], path


def test_no_tracked_file_is_too_large() -> None:
    large = [str(p) for p in tracked() if (ROOT / p).stat().st_size > MAX_MB * 1024 * 1024]
    assert not large


def test_the_lock_has_an_exact_version_of_every_dependency() -> None:
    locked = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    names = {normal(name) for name in locked}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    missing = {w for w in wanted if normal(re.split(r"[^\w.-]", w)[0]) not in names}
    assert not missing
    assert not [version for version in locked.values() if "+" in version]
