"""A shard folder of invented Python files, made quickly and without the data pipeline."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tabwright.artifact import file_digest, folder_digest, write_json
from tabwright.tokenizer import Tokenizer
from training.data.shards import SCHEMA_VERSION, SPLITS, Entry
from training.tokenizer import train_tokenizer


def _text(number: int) -> str:
    return "\n\n".join(
        f"def area_{number}_{i}(width, height):\n    return width * height + {i}\n"
        for i in range(1 + number % 9)
    )


def write_tiny_shards(folder: Path, documents: int = 40) -> Path:
    """Write so many documents of the sources `one` and `two` into each split."""
    folder.mkdir(parents=True)
    texts = [_text(number) for number in range(documents)]
    train_tokenizer(texts, 600, folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    tokens = {"one": 0, "two": 0}
    for split in SPLITS:
        rows, entries, start = [], [], 0
        for number, text in enumerate(texts):
            ids = tokenizer.encode(text)
            source = ("one", "two")[number % 2]
            name = f"src/shapes_{number}.py"
            entries.append(Entry(start, len(ids), f"{number:032x}", source, "shapes", name,
                                 "MIT", "python"))  # fmt: skip
            rows.append(np.asarray(ids, dtype=np.uint16))
            tokens[source] += len(ids)
            start += len(ids)
        np.save(folder / f"{split}-00000.npy", np.concatenate(rows))
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries)
        (folder / f"{split}-00000.jsonl").write_text(lines, encoding="utf-8")
    files = {file.name: file_digest(file) for file in sorted(folder.iterdir())}
    counted = {"documents": documents, "tokens": sum(tokens.values()) // 2, "bytes": 0}
    write_json(
        folder / "manifest.json",
        {
            "schema_version": SCHEMA_VERSION,
            "digest": folder_digest(files),
            "files": files,
            "vocab_size": tokenizer.vocab_size,
            "splits": {split: counted for split in SPLITS},
            "sources": {
                name: {"weight": 1.0, "licences": {"MIT": documents // 2}, "tokens": count // 2}
                for name, count in tokens.items()
            },
        },
    )
    return folder
