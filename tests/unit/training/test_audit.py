"""Is the audit's truth the truth, and are planted near duplicates found?"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from tabwright.errors import ConfigError
from training.data.audit import _alike, _shingles, audit
from training.data.config import read_config
from training.data.engines.local import open_engine
from training.data.explanation import explain
from training.data.minhash import jaccard
from training.data.pipeline import build
from training.data.run import Run, open_run

_PLANTED = 100
_WORDS = ("count", "total", "price", "basket", "line", "order", "user", "token", "cache", "limit")


def _module(draw: random.Random) -> list[str]:
    rows = []
    for _ in range(40):
        left, right, result = (f"{draw.choice(_WORDS)}_{draw.randrange(90)}" for _ in range(3))
        rows.append(f"{result} = {left} {draw.choice('+-*')} {right}({draw.randrange(1000)})")
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("audit")
    draw = random.Random(7)
    (root / "code").mkdir()
    for number in range(_PLANTED):
        rows = _module(draw)
        (root / "code" / f"a{number:03}.py").write_text("\n".join(rows) + "\n")
        rows[draw.randrange(40)] = "changed = True"
        rows.insert(draw.randrange(40), f"# a copy, number {number}")
        (root / "code" / f"b{number:03}.py").write_text("\n".join(rows) + "\n")
    config = (
        f'[[source]]\nkind = "folder"\nname = "code"\nfolder = "{root / "code"}"\n'
        'licence = "MIT"\n[filters]\ndrop = []\n[tokenizer]\nvocab_size = 600\n'
    )
    (root / "data.toml").write_text(config)
    found = open_run(root / "run", read_config(root / "data.toml"))
    with open_engine(workers=1) as engine:
        build(engine, found)
    return found


def test_a_hundred_planted_near_duplicates_are_all_dropped(run: Run) -> None:
    for number in range(_PLANTED):
        (copy,) = explain(run, "path", f"b{number:03}.py")
        assert copy["fate"] == "near_duplicate"
        assert copy["duplicate_of"]["path"] == f"a{number:03}.py"
        (first,) = explain(run, "path", f"a{number:03}.py")
        assert (first["fate"], first["copies"]) == ("kept", 1)


def test_the_audit_finds_recall_and_precision_of_the_planted(run: Run) -> None:
    found = audit(run, 5000)
    assert (found.sample, found.alike) == (2 * _PLANTED, _PLANTED)
    assert found.recall >= 0.95
    assert found.precision >= 0.98


def test_a_smaller_sample_counts_only_its_own_pairs(run: Run) -> None:
    found = audit(run, 60)
    assert found.sample == 60
    assert found.alike < _PLANTED
    assert audit(run, 60) == found


def test_no_pair_is_missed_by_the_inverted_index() -> None:
    draw = random.Random(3)
    documents: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    for key in range(60):
        rows = _module(draw)[: draw.randrange(4, 40)]
        documents[2 * key] = _shingles("\n".join(rows), 5)
        cut = draw.randrange(1, len(rows))
        documents[2 * key + 1] = _shingles("\n".join(rows[:cut]), 5)
    for threshold in (0.3, 0.7, 1.0):
        everything = {
            (a, b): index
            for a, b in itertools.combinations(documents, 2)
            if (index := jaccard(documents[a], documents[b])) >= threshold
        }
        assert _alike(documents, threshold) == everything


def test_a_run_without_near_duplicates_is_not_audited(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text((run.folder / "plan.json").read_text())
    with pytest.raises(ConfigError, match="not looked for"):
        audit(Run(tmp_path, run.config, run.parts, run.digest), 10)
