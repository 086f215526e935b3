"""Precision and recall of what is replaced, by kind, on the labelled set of the tests.

    python docs/results/anonymising.py docs/results/anonymising.json [FOLDER ...]

Folders of real code are searched for the speed and for what is found in them; nobody labelled them.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.unit.training.private_values import Labelled, negatives, positives
from training.data.privacy.anonymise import anonymise


def main(target: Path, folders: list[Path]) -> None:
    """Judge the labelled set, then search the folders."""
    report: dict[str, Any] = {"labelled": _labelled(positives(40), negatives(30))}
    report["folders"] = [_searched(folder) for folder in folders]
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def _labelled(there: list[Labelled], absent: list[Labelled]) -> dict[str, Any]:
    total, found, wrong = Counter[str](), Counter[str](), Counter[str]()
    for item in there:
        total[item.kind] += 1
        found[item.kind] += item.value not in _within(item.line).text
    for item in absent:
        wrong.update(set(_within(item.line).kinds))
    hits, false = sum(found.values()), sum(wrong.values())
    return {
        "positives": len(there),
        "negatives": len(absent),
        "recall": hits / len(there),
        "precision": hits / (hits + false),
        "recall_by_kind": {kind: found[kind] / total[kind] for kind in sorted(total)},
        "false_by_kind": dict(sorted(wrong.items())),
    }


def _within(line: str) -> Any:
    return anonymise(f"first = 1\n{line}\nlast = 2\n", "repo", 0)


def _searched(folder: Path) -> dict[str, Any]:
    suffixes = {".py", ".js", ".ts", ".c", ".h", ".go", ".rs", ".java", ".rb", ".sh"}
    files = [f for f in sorted(folder.rglob("*")) if f.suffix in suffixes and f.is_file()]
    texts = [f.read_text(errors="replace") for f in files[:4000] if f.stat().st_size < 10**6]
    start = time.perf_counter()
    kinds = Counter(kind for text in texts for kind in anonymise(text, "repo", 0).kinds)
    seconds = time.perf_counter() - start
    return {
        "folder": folder.name,
        "documents": len(texts),
        "documents_per_s": round(len(texts) / seconds),
        "mb_per_s": round(sum(map(len, texts)) / seconds / 1e6, 2),
        "found": dict(sorted(kinds.items())),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
