"""How well near duplicates were found: against the exact Jaccard index of all pairs of a sample.

The exact side shares nothing with `minhash.py` but the definition of a shingle: it hashes tuples of
words, and finds every pair at or above the threshold by an inverted index over the rarest shingles
of each document (prefix filter: Chaudhuri et al. 2006; Bayardo et al. 2007), which misses none.
Read `audit` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabwright.errors import ConfigError
from training.data.dedup import EDGES, EXACT, GROUPS
from training.data.document import part_of
from training.data.minhash import jaccard
from training.data.run import Run
from training.data.signing import SHINGLES
from training.data.tagging import STEP as DOCUMENTS

_WORD = re.compile(r"[0-9A-Za-z_\x80-\U0010ffff]+")
_Shingles = npt.NDArray[np.int64]
_Pairs = dict[tuple[int, int], float]


class Audit(NamedTuple):
    """Pairs of a sample at or above the threshold, and what the run made of them.

    alike: pairs by the exact index; linked: pairs that the run linked; recall: of the alike, those
    in one group, so that one stays; linked_recall: of the alike, those linked directly; precision:
    of the linked, those that are alike. A share of nothing is 1.
    """

    sample: int
    alike: int
    linked: int
    recall: float
    linked_recall: float
    precision: float


def audit(run: Run, sample: int) -> Audit:
    """Compare the near duplicates of a finished run with the truth on `sample` of its documents.

    Raises:
        ConfigError: the run has not looked for near duplicates.
    """
    if not run.table(GROUPS).exists() or not run.config.dedup.near:
        raise ConfigError(f"{run.folder}: near duplicates were not looked for; finish the run")
    keys = _draw(run, sample)
    truth = _alike(_read(run, keys), run.config.dedup.threshold)
    edges = pq.read_table(run.table(EDGES), columns=["a", "b"]).to_pydict()
    inside = set(keys)
    pairs = zip(edges["a"], edges["b"], strict=True)
    linked = {(a, b) for a, b in pairs if a in inside and b in inside}
    rows = pq.read_table(run.table(GROUPS)).to_pydict()
    keeper = dict(zip(rows["key"], rows["keeper"], strict=True))
    grouped = sum(keeper.get(a, a) == keeper.get(b, b) for a, b in truth)
    both = len(linked & truth.keys())
    return Audit(
        sample=len(keys),
        alike=len(truth),
        linked=len(linked),
        recall=_share(grouped, len(truth)),
        linked_recall=_share(both, len(truth)),
        precision=_share(both, len(linked)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _draw(run: Run, sample: int) -> list[int]:
    """Keys of some documents that were compared, always the same, in ascending order."""
    exact = pq.read_table(run.table(EXACT), columns=["key"])["key"]
    signed = pq.read_table(run.table(SHINGLES), columns=["key"])["key"]
    keys = np.sort(signed.filter(pc.invert(pc.is_in(signed, value_set=exact))).to_numpy())
    chosen = np.random.default_rng(0).permutation(len(keys))[:sample]
    return [int(key) for key in np.sort(keys[chosen])]


def _read(run: Run, keys: list[int]) -> dict[int, _Shingles]:
    wanted = pa.array(keys, pa.int64())
    found: dict[int, _Shingles] = {}
    for part in sorted({part_of(key) for key in keys}):
        with pq.ParquetFile(run.part(DOCUMENTS, part)) as file:
            for batch in file.iter_batches(512, columns=["key", "text"]):
                rows = batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pydict()
                for key, text in zip(rows["key"], rows["text"], strict=True):
                    found[key] = _shingles(text, run.config.dedup.ngram)
    return found


def _shingles(text: str, ngram: int) -> _Shingles:
    words = _WORD.findall(text)
    runs = zip(*(words[at:] for at in range(ngram)), strict=False)
    return np.unique(np.fromiter(map(hash, runs), dtype=np.int64))


def _alike(documents: dict[int, _Shingles], threshold: float) -> _Pairs:
    """Every pair of keys with its index, where that reaches the threshold."""
    values, counts = np.unique(
        np.concatenate([np.zeros(0, dtype=np.int64), *documents.values()]), return_counts=True
    )
    met: dict[int, list[int]] = {}
    pairs: _Pairs = {}
    for key in sorted(documents):
        mine = documents[key]
        rarest = mine[np.argsort(counts[np.searchsorted(values, mine)], kind="stable")]
        prefix = rarest[: len(mine) - int(np.ceil(threshold * len(mine))) + 1].tolist()
        for other in _candidates(met, prefix):
            index = jaccard(documents[other], mine)
            if index >= threshold:
                pairs[other, key] = index
        for value in prefix:
            met.setdefault(value, []).append(key)
    return pairs


def _candidates(met: dict[int, list[int]], prefix: list[int]) -> Iterator[int]:
    yield from {other for value in prefix for other in met.get(value, ())}


def as_json(found: Audit) -> dict[str, Any]:
    """The audit with its shares rounded to what a sample can tell."""
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in found._asdict().items()
    }
