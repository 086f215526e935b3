"""Measure line filters and near duplicates against datatrove, and how cost grows; print JSON.

On an idle machine; an own environment has datatrove 0.10.1, orjson, regex, tokenizers, xxhash<4:
`python docs/results/data.py --datatrove ENV/bin/python >docs/results/data.json`.
Both sides read the same JSON lines in one process and write the documents that stay. Ours decides
with the tagger of lines only, makes 252 hashes and verifies every pair; datatrove makes its own
112, verifies none, and gets a word splitter faster than its default. `--times` multiplies the
documents by renaming their words, ours only. `--folder`, `--documents` make it smaller or larger.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

_WORD = re.compile(r"\b[A-Za-z_]{4,}\b")
_LIMITS = (1000, 100, 0.25)  # longest line, mean line, share of letters and digits


def main() -> None:
    """Measure, or be one side in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 30, 100])
    parser.add_argument("--datatrove", help="Python that has datatrove")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps((_ours if args.side == "ours" else _theirs)(args.work)))
        return
    files = sorted(args.folder.rglob("*.py"))[: args.documents]
    texts = [file.read_text("utf-8", "replace") for file in files]
    rows = []
    for times in args.times:
        sides = [("ours", sys.executable)]
        if times == args.times[0] and args.datatrove:
            sides.append(("theirs", args.datatrove))
        rows += [{"times": times, **row} for row in _compare(texts, times, sides)]
    print(json.dumps({"machine": platform.machine(), "rows": rows}, indent=1))


def _compare(texts: list[str], times: int, sides: list[tuple[str, str]]) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work / "in").mkdir()
        with (work / "in" / "code.jsonl").open("w", encoding="utf-8") as out:
            for turn in range(times):
                for number, text in enumerate(texts):
                    renamed = _WORD.sub(rf"\g<0>_{turn}", text) if turn else text
                    path = f"{turn}/{number}.py"
                    out.write(json.dumps({"text": renamed, "id": path, "path": path}) + "\n")
        for side, python in sides:
            command = [python, __file__, "--side", side, "--work", str(work)]
            began = time.perf_counter()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            row |= {"side": side, "documents": times * len(texts)}
            row |= {"wall_s": round(time.perf_counter() - began, 1)}
            rows.append(row | {"documents_per_cpu_s": round(row["documents"] / row["cpu_s"], 1)})
    return rows


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
    from training.data.config import DataConfig, TableSource
    from training.data.dedup import deduplicate
    from training.data.engine import Step
    from training.data.engines.local import open_engine
    from training.data.run import open_run
    from training.data.taggers import TAGGERS

    began = time.process_time()
    for name in set(TAGGERS) - {"shape"}:
        del TAGGERS[name]
    source = TableSource(kind="table", name="code", files=str(work / "in" / "code.jsonl"))
    run = open_run(work / "ours", DataConfig(source=(source,)))
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
