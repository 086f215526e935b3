"""One side of the comparison with datatrove, in a process of its own; prints one line of JSON.

    PYTHON docs/results/data_sides.py ours|theirs FOLDER

Both sides read the same JSON lines in one process and write the documents that stay. Ours decides
with the tagger of lines only, makes 252 hashes and verifies every pair; datatrove makes its own
112, verifies none, and gets a word splitter faster than its default. Neither looks for people or
secrets. Imports do not count.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

_LIMITS = (1000, 100, 0.25)  # longest line, mean line, share of letters and digits


def main() -> None:
    """Be one of the sides."""
    side = {"ours": _ours, "theirs": _theirs}[sys.argv[1]]
    print(json.dumps(side(Path(sys.argv[2]))))


def _cost(began: float) -> dict[str, float]:
    """Processor time since the imports were done, and the most memory, of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": round(time.process_time() - began, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _ours(work: Path) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from training.data import cleaning, keeping, signing, tagging
    from training.data.config import DataConfig, Privacy, TableSource
    from training.data.dedup import deduplicate
    from training.data.engine import Step
    from training.data.engines.local import open_engine
    from training.data.run import open_run
    from training.data.taggers import TAGGERS

    began = time.process_time()
    for name in set(TAGGERS) - {"shape"}:
        del TAGGERS[name]
    source = TableSource(kind="table", name="code", files=str(work / "in" / "code.jsonl"))
    run = open_run(work / "ours", DataConfig(source=(source,), privacy=Privacy(replace=False)))
    parts = range(len(run.parts))
    with open_engine(workers=1) as engine:
        engine.map(Step(tagging.STEP, tagging.tag_part), run, parts)
        engine.map(Step(signing.STEP, signing.sign_part), run, parts)
        deduplicate(engine, run)
        keeping.decide(engine, run)
        engine.map(Step(cleaning.STEP, cleaning.clean_part), run, parts)
        sql = "SELECT count(*) FROM fates WHERE reason IS NULL"
        ((kept,),) = engine.rows(sql, {"fates": run.table(keeping.FATES)})
    return {"kept": kept, **_cost(began)}


def _theirs(work: Path) -> dict[str, Any]:
    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from loguru import logger

    class Words:
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    began = time.process_time()
    logger.remove()
    minhash.load_word_tokenizer = lambda _: Words()
    out = work / "theirs"
    config = minhash.MinhashConfig()
    steps: list[list[Any]] = [
        [JsonlReader(str(work / "in")), LambdaFilter(lambda row: _well_formed(row.text)),
         JsonlWriter(str(out / "filtered"))],
        [JsonlReader(str(out / "filtered")),
         minhash.MinhashDedupSignature(str(out / "signatures"), config)],
        [minhash.MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"),
                                     config=config)],
        [minhash.MinhashDedupCluster(str(out / "buckets"), str(out / "removed"), config=config)],
        [JsonlReader(str(out / "filtered")), minhash.MinhashDedupFilter(str(out / "removed")),
         JsonlWriter(str(out / "kept"))],
    ]  # fmt: skip
    kept = 0
    for pipeline in steps:
        bucketing = isinstance(pipeline[0], minhash.MinhashDedupBuckets)
        for rank in range(config.num_buckets if bucketing else 1):
            data: Any = None
            for step in pipeline:
                data = step(data, rank, config.num_buckets if bucketing else 1)
            kept = sum(1 for _ in data or ())
    return {"kept": kept, **_cost(began)}


def _well_formed(text: str) -> bool:
    """The same three bounds as our tagger of lines, in plain Python."""
    lines = text.split("\n")
    longest, mean = max(map(len, lines)), len(text) / len(lines)
    letters = sum(map(str.isalnum, text)) / max(len(text), 1)
    return longest <= _LIMITS[0] and mean <= _LIMITS[1] and letters >= _LIMITS[2]


if __name__ == "__main__":
    main()
