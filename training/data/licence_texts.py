"""Which licence a LICENSE or COPYING file holds, and which such file is nearest to a file.

A text is told by a few of its words in lower case with single blanks. What is a licence file, but
none of those, is unrecognised: that is not nothing, since it may forbid everything.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

UNRECOGNISED = "LicenseRef-unrecognised"
_NAMES = re.compile(r"(?:un)?licen[cs]e|copying", re.IGNORECASE)
_MAX_BYTES = 1 << 16
# The first rule whose phrases are all in the text decides; the more special stand first.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("LGPL-2.0", ("gnu library general public license", "version 2")),
    ("GPL-3.0", ("gnu general public license", "version 3, 29 june 2007")),
    ("GPL-2.0", ("gnu general public license", "version 2, june 1991")),
    ("MPL-2.0", ("mozilla public license", "version 2.0")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("Unlicense", ("free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("BSL-1.0", ("boost software license", "version 1.0")),
    ("BUSL-1.1", ("business source license",)),
    ("Zlib", ("provided 'as-is'", "altered source versions must be plainly marked")),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose",
             "copyright notice and this permission notice appear in all copies")),
    ("ISC", ("permission to use, copy, modify, and distribute this software for any purpose",
             "copyright notice and this permission notice appear in all copies")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "may not be used to "
                      "endorse or promote")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    ("MIT", ("permission is hereby granted, free of charge", "without restriction",
             "permission notice shall be included in all copies")),
)  # fmt: skip


def recognise(text: str) -> str:
    """Name the licence of a text by its SPDX identifier, `UNRECOGNISED` if it is none of ours."""
    words = " ".join(re.sub(r"[\u2018\u2019`\"]", "'", text).lower().split())
    for name, phrases in _RULES:
        if all(phrase in words for phrase in phrases):
            return name
    return UNRECOGNISED


@lru_cache(maxsize=4096)
def nearest(folder: Path, root: Path) -> str:
    """Name the licence of the folder or of the nearest above it up to `root`, "" without any."""
    found = _stated(folder)
    if found or folder == root:
        return found
    return nearest(folder.parent, root)


def _stated(folder: Path) -> str:
    """Join what the licence files of one folder say; a choice between several is an OR."""
    try:
        names = sorted(e.name for e in os.scandir(folder) if e.is_file(follow_symlinks=False))
    except OSError:
        return ""
    found = []
    for name in names:
        if _NAMES.match(name) and Path(name).suffix.lower() not in (".py", ".js", ".json", ".html"):
            try:
                with (folder / name).open("rb") as file:
                    found.append(recognise(file.read(_MAX_BYTES).decode("utf-8", "replace")))
            except OSError:
                found.append(UNRECOGNISED)
    if any(name.startswith("LGPL") for name in found):  # it comes with the GPL that it refers to
        found = [name for name in found if not name.startswith("GPL")]
    return " OR ".join(sorted(set(found)))
