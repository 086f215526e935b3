"""Measure the data pipeline on code found on this machine; each part's figures go into one JSON.

    python docs/results/data.py docs/results/data.json [--part NAME ...] [--work DIR]

corpus     copy --mb of code from --folder ... into the work folder, as every part below reads it
local, local_again, local_killed, spark, spark_again, spark_killed
           the whole pipeline with that engine on two cores: digest, time, memory of all processes;
           the killed ones are killed at random points five times, then end
audit      recall and precision of near duplicates on 5,000 documents of `local`
compare    line filters and near duplicates against datatrove (see data_sides.py); --datatrove is
           a Python with datatrove==0.10.1, orjson, regex, tokenizers, xxhash<4
scale      the whole pipeline on 1, 10, 30 and 100 times --base documents, their words renamed

Parts are done in this order, all of them without --part; a part that is done anew replaces its
figures. Every part says when and on what it was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import keyword
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.results.data_measuring import kill_at_random, measured

_HERE = Path(__file__).parent
_PLACES = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    _HERE.parents[1] / "tests" / "integration" / "clients" / "node_modules",
    *("/usr/include", "/usr/share/go-1.19", "/usr/lib/ruby", "/usr/share/perl", "/usr/share/vim"),
    *("/usr/share/cmake-3.25", "/usr/lib/node_modules", "/usr/share/nodejs"),
)
_NO_CODE = (".so", ".pyc", ".a", ".o", ".gz", ".png", ".node", ".mo")
_MAX_BYTES = 1_000_000
_WORD = re.compile(rf"\b(?!(?:{'|'.join(keyword.kwlist)})\b)[A-Za-z_]{{4,}}\b")
_TIMES = (1, 10, 30, 100)
_ENGINES = {"local": ["--workers", "2"], "spark": ["--engine", "spark", "--master", "local[2]"]}
_KILLS = 5
_KILLED_WITHIN_S = {"local": 25, "spark": 60}  # of each start; so that all fall into one run


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path)
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--folder", type=Path, nargs="+", default=[Path(p) for p in _PLACES])
    parser.add_argument("--mb", type=int, default=310)
    parser.add_argument("--documents", type=int, default=3000, help="of `compare`")
    parser.add_argument("--base", type=int, default=100, help="documents of `scale`, once")
    parser.add_argument("--datatrove", help="Python that has datatrove; for `compare`")
    parser.add_argument("--work", type=Path, default=Path("build/data-results"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in (name for name in _PARTS if name in args.part):
        found = _PARTS[name](args)
        report = json.loads(args.target.read_text("utf-8")) if args.target.exists() else {}
        report[name] = {"where": _where(), **found}
        args.target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(name, json.dumps(found), flush=True)


def _where() -> dict[str, Any]:
    done = subprocess.run([sys.executable, _HERE / "where.py"], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _corpus(args: argparse.Namespace) -> dict[str, Any]:
    """Copy files of every folder in turn, in an order drawn once, until there is enough."""
    target = args.work / "corpus"
    shutil.rmtree(target, ignore_errors=True)
    left = {folder: _files(folder) for folder in args.folder if folder.is_dir()}
    copied = {folder.name: [0, 0] for folder in left}
    while sum(size for _, size in copied.values()) < args.mb * 1e6 and any(left.values()):
        for folder, files in left.items():
            if files:
                file = files.pop()
                place = target / folder.name / file.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                copied[folder.name][0] += 1
                copied[folder.name][1] += file.stat().st_size
    return {"files_and_bytes": copied, "bytes": sum(size for _, size in copied.values())}


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("__pycache__", "site-packages", ".git")]
        paths = (Path(place) / n for n in names if not n.endswith(_NO_CODE))
        found += [
            p for p in paths if p.is_file() and not p.is_symlink() and p.stat().st_size < _MAX_BYTES
        ]
    random.Random(1).shuffle(found)
    return found


def _run(engine: str, *, kills: int = 0) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def part(args: argparse.Namespace) -> dict[str, Any]:
        config = args.work / "corpus.toml"
        config.write_text(_config("folder", f'folder = "{args.work / "corpus"}"\nrepo_depth = 1'))
        return _pipeline(args.work, config, engine, kills)

    return part


def _config(kind: str, place: str) -> str:
    return f'[[source]]\nkind = "{kind}"\nname = "found"\nlicence = "MIT"\n{place}\n'


def _pipeline(work: Path, config: Path, engine: str, kills: int = 0) -> dict[str, Any]:
    """Run the command in a fresh folder; the last run of an engine is kept for `audit`."""
    work.mkdir(parents=True, exist_ok=True)
    out = work / f"run-{engine}"
    shutil.rmtree(out, ignore_errors=True)
    code = "import sys; from tabwright.cli import main; sys.exit(main())"
    words = ["train", "data", "run", "--config", str(config), "--out", str(out), "--json"]
    command = [sys.executable, "-c", code, *words, *_ENGINES[engine]]
    killed = {}
    if kills:
        killed["killed_after_s"] = kill_at_random(command, kills, _KILLED_WITHIN_S[engine])
    log = work / f"{engine}.json"
    cost = measured(command, log)
    manifest = json.loads(log.read_text("utf-8"))
    ledger = (out / "ledger.json").read_bytes()
    rows = [row for row in json.loads(ledger)["steps"] if row["step"] == "filters"]
    return {
        "digest": manifest["digest"],
        "ledger": hashlib.sha256(ledger).hexdigest(),
        "documents": sum(row["rows_in"] for row in rows),
        "bytes": sum(row["bytes_in"] for row in rows),
        "kept": sum(split["documents"] for split in manifest["splits"].values()),
        **killed,
        **cost,
    }


def _audit(args: argparse.Namespace) -> dict[str, Any]:
    code = "import sys; from tabwright.cli import main; sys.exit(main())"
    words = ["train", "data", "audit", "--run", str(args.work / "run-local"), "--json"]
    command = [sys.executable, "-c", code, *words, "--sample", "5000"]
    done = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _compare(args: argparse.Namespace) -> dict[str, Any]:
    if not args.datatrove:
        return {"skipped": "no --datatrove"}
    scratch = args.work / "sides"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "in").mkdir(parents=True)
    documents = _write(scratch / "in" / "code.jsonl", _texts(args.documents), 1)
    rows = {}
    for side, python in (("ours", sys.executable), ("theirs", args.datatrove)):
        command = [python, str(_HERE / "data_sides.py"), side, str(scratch)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows[side] = json.loads(done.stdout.splitlines()[-1])
        rows[side]["documents_per_cpu_s"] = round(documents / rows[side]["cpu_s"], 1)
    ratio = rows["ours"]["documents_per_cpu_s"] / rows["theirs"]["documents_per_cpu_s"]
    return {"documents": documents, **rows, "times_theirs": round(ratio, 2)}


def _scale(args: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for times in _TIMES:
        table = args.work / "scale.jsonl"
        documents = _write(table, _texts(args.base), times)
        config = args.work / "scale.toml"
        config.write_text(
            _config("table", f'files = "{table}"') + "[read]\npart_mb = 4\n"
            "[tokenizer]\nsample_mb = 1\n"
        )
        row = _pipeline(args.work / "scale", config, "local")
        per = round(1000 * row["cpu_s"] / documents, 2)
        rows.append({"times": times, **row, "cpu_ms_per_document": per})
    return {"rows": rows}


def _texts(count: int) -> list[str]:
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    some = files[:: max(len(files) // count, 1)][:count]
    return [file.read_text("utf-8", "replace") for file in some]


def _write(target: Path, texts: list[str], times: int) -> int:
    """Write the documents so many times, with other words each time but the first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as out:
        for turn in range(times):
            for number, text in enumerate(texts):
                renamed = _WORD.sub(rf"\g<0>_{turn}", text) if turn else text
                path = f"{turn}/{number}.py"
                out.write(json.dumps({"text": renamed, "id": path, "path": path}) + "\n")
    return times * len(texts)


_PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "corpus": _corpus,
    "local": _run("local"),
    "audit": _audit,
    "spark": _run("spark"),
    "local_killed": _run("local", kills=_KILLS),
    "spark_killed": _run("spark", kills=_KILLS),
    "compare": _compare,
    "scale": _scale,
    "local_again": _run("local"),
    "spark_again": _run("spark"),
}

if __name__ == "__main__":
    main()
