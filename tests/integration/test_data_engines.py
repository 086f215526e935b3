"""Do all engines give the same shards, twice, and also after being killed at any time?"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

_LIMIT_GB = 2
_SPARK = ["--engine", "spark", "--master", "local[2]"]


def _command(root: Path, out: str, *more: str) -> list[str]:
    code = "import sys; from tabwright.cli import main; sys.exit(main())"
    words = ["train", "data", "run", "--config", str(root / "data.toml"), "--out", str(root / out)]
    return [sys.executable, "-c", code, *words, "--json", *more]


def _digest(root: Path, out: str, *more: str) -> str:
    done = subprocess.run(
        _command(root, out, *more), capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return str(json.loads(done.stdout)["digest"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real code of several languages' shapes, with copies, in a dozen parts."""
    root = tmp_path_factory.mktemp("engines")
    code = root / "code"
    code.mkdir()
    library = Path(os.__file__).parent
    for file in sorted(library.glob("*.py"))[:110]:
        shutil.copyfile(file, code / file.name)
        if len(file.name) % 3 == 0:
            (code / f"copy_of_{file.name}").write_bytes(file.read_bytes() + b"\n# changed\n")
    (code / "broken.py").write_bytes(b"\xff\xfe\x00")
    (code / "empty.py").write_bytes(b"")
    (root / "data.toml").write_text(
        f'[[source]]\nkind = "folder"\nname = "code"\nfolder = "{code}"\nlicence = "PSF-2.0"\n'
        "[tokenizer]\nvocab_size = 800\nsample_mb = 1\n[read]\npart_mb = 1\n"
        '[contamination]\nbenchmarks = ["core"]\n'
    )
    return root


@pytest.fixture(scope="module")
def digest(root: Path) -> str:
    return _digest(root, "first", "--workers", "1")


def test_a_second_run_with_other_workers_gives_the_same(root: Path, digest: str) -> None:
    assert _digest(root, "second", "--workers", "2") == digest
    ledgers = [(root / out / "ledger.json").read_text() for out in ("first", "second")]
    assert ledgers[0] == ledgers[1]


def test_a_run_killed_at_random_points_ends_with_the_same(root: Path, digest: str) -> None:
    _kill_often(root, "killed", ["--workers", "2"], kills=6, within_s=4)
    assert _digest(root, "killed", "--workers", "2") == digest


@pytest.mark.usefixtures("digest")
def test_no_process_holds_more_memory_than_promised() -> None:
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak_kb / 2**20 < _LIMIT_GB


needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or not (shutil.which("java") or "JAVA_HOME" in os.environ),
    reason="needs pyspark and Java",
)


@needs_spark
@pytest.mark.slow
@pytest.mark.parametrize("out", ["spark", "spark-again"])
def test_spark_gives_the_same_shards_and_ledger(root: Path, digest: str, out: str) -> None:
    assert _digest(root, out, *_SPARK) == digest
    ledgers = [(root / folder / "ledger.json").read_text() for folder in ("first", out)]
    assert ledgers[0] == ledgers[1]


@needs_spark
@pytest.mark.slow
def test_a_killed_spark_run_ends_with_the_same(root: Path, digest: str) -> None:
    _kill_often(root, "spark-killed", _SPARK, kills=3, within_s=30)
    assert _digest(root, "spark-killed", *_SPARK) == digest


@needs_spark
@pytest.mark.slow
def test_what_one_engine_left_the_other_finishes(root: Path, digest: str) -> None:
    _kill_often(root, "mixed", _SPARK, kills=1, within_s=30)
    assert _digest(root, "mixed", "--workers", "2") == digest


def _kill_often(root: Path, out: str, more: list[str], *, kills: int, within_s: float) -> None:
    draw = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            _command(root, out, *more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(draw.uniform(0.5, within_s))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
