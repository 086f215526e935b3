"""Licence names: which are permissive, and what a package's metadata says.

The texts of LICENSE files are told apart by `licence_texts.py`; this file only knows names.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution

_CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
}
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([^\n*]+)")
_HEAD = 2000
_PERMISSIVE = re.compile(
    r"^(mit(-cmu|-0)?|bsd.*|new bsd.*|modified bsd.*|[23]-clause bsd.*|apache.*|psf-2\.0|"
    r"python-2\.0.*|isc.*|0bsd|unlicense|zlib|zpl.*|hpnd|cc0-1\.0|bsl-1\.0|wtfpl|x11|"
    r"artistic-2\.0|blueoak-1\.0\.0)$",
    re.IGNORECASE,
)


def is_permissive(expression: str) -> bool:
    """Whether every name of an SPDX expression is permissive; one of an OR is enough."""
    choices = re.split(r"\s+OR\s+", expression.strip("() "), flags=re.IGNORECASE)
    return any(
        all(_PERMISSIVE.match(n) for n in re.split(r"\s+(?:AND|WITH)\s+|[()]", c) if n.strip())
        for c in choices
        if c.strip()
    )


def header_licence(text: str) -> str:
    """Read the SPDX expression of a file's head, "" without one."""
    found = _SPDX.search(text[:_HEAD])
    return found[1].strip().rstrip("*/-> ").strip() if found else ""


def package_licence(package: Distribution) -> str:
    """SPDX-like expression of an installed package's licence, "" when it states none."""
    metadata = package.metadata
    if expression := metadata["License-Expression"]:
        return str(expression)
    found = [c.rsplit(" :: ", 1)[-1] for c in metadata.get_all("Classifier") or ()
             if c.startswith("License ::")]  # fmt: skip
    if found:
        return " AND ".join(_CLASSIFIERS.get(name, name) for name in found)
    return (metadata["License"] or "").strip().split("\n")[0][:80]
