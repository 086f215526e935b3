"""`starts.jsonl`: a row for every start of a run, so that restarts and lineage stay with it.

Each row says when and on how many ranks, from which step, with which code, packages, data and
vocabulary, how large the model is and which peak its MFU is measured against.
"""

from __future__ import annotations

import datetime
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tabwright.artifact import file_digest
from training.data.shards import read_manifest
from training.lineage import commit
from training.records import STARTS

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def note_start(out: Path, data: Path, facts: dict[str, Any]) -> None:
    """Append one row."""
    manifest = read_manifest(data)
    row = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "data_digest": manifest["digest"],
        "data_splits": manifest["splits"],
        "sources": manifest["sources"],
        "tokenizer_digest": file_digest(data / "tokenizer.json"),
        "vocabulary": manifest["vocab_size"],
    }
    with (out / STARTS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
