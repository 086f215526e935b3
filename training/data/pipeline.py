"""THE MAIN PATH from raw code to shards, the same on every engine.

documents   read and tag every file               a part at a time
marks       decide by the tags; sign what stays   a part at a time
fates       exact and near duplicates             all parts together, in SQL
clean       the text that leaves                  a part at a time
tokenizer   an own vocabulary, if none is given
shards      tokens with their lineage             a part at a time
ledger      what went in and out of every step
"""

from __future__ import annotations

import ctypes
import shutil
from typing import Any

import pyarrow as pa

from training.data import cleaning, keeping, ledger, packing, signing, tagging
from training.data.dedup import deduplicate
from training.data.engine import DataEngine, Step
from training.data.run import Run, whole
from training.tokenizer import sample_texts, train_tokenizer


def build(engine: DataEngine, run: Run) -> dict[str, Any]:
    """Do whatever is not done yet; returns the shards' manifest.

    Raises:
        ConfigError: nothing was left to train on.
        EngineFailed: a worker or the cluster died; running it again goes on.
    """
    parts = range(len(run.parts))
    engine.map(Step(tagging.STEP, tagging.tag_part), run, parts)
    engine.map(Step(signing.STEP, signing.sign_part), run, parts)
    deduplicate(engine, run)
    keeping.decide(engine, run)
    engine.map(Step(cleaning.STEP, cleaning.clean_part), run, parts)
    _vocabulary(run)
    engine.map(Step(packing.STEP, packing.write_part), run, parts)
    manifest = packing.publish(run)
    if not (run.folder / ledger.FILE).exists():
        ledger.write_ledger(engine, run)
    return manifest


def _vocabulary(run: Run) -> None:
    target = run.folder / packing.TOKENIZER
    if target.exists():
        return
    with whole(target) as partial:
        if run.config.tokenizer.file:
            shutil.copyfile(run.config.tokenizer.file.expanduser(), partial)
        else:
            train_tokenizer(sample_texts(run), run.config.tokenizer.vocab_size, partial)
            _give_back()


def _give_back() -> None:
    """Let go of what was counted, 300 MB of words, which the C library would keep to the end."""
    pa.default_memory_pool().release_unused()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc's; others give back by themselves
        libc.malloc_trim(0)
