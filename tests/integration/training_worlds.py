"""Train several runs, one after the other, each on its own number of ranks.

`python -m tests.integration.training_worlds RUNS.json`: rows of {world, config, data, out, set}.
Python and torch are loaded once and every rank is a fork of this process, so that a run of a tiny
model costs what it computes. A rank that fails ends the whole with its code.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import transformers.models.llama.modeling_llama
import transformers.models.qwen2.modeling_qwen2
import transformers.models.qwen3.modeling_qwen3
import transformers.models.starcoder2.modeling_starcoder2  # noqa: F401

import training.train


def main() -> int:
    """Run every row of the file."""
    for row in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        began = time.perf_counter()
        ranks = [_fork(row, rank, port) for port in (_free_port(),) for rank in range(row["world"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in ranks]
        print(f"{row['out']}: {time.perf_counter() - began:.1f} s, codes {codes}", flush=True)
        if any(codes):
            return 1
    return 0


def _fork(row: dict[str, Any], rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(row["world"]),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    argv = ["--config", row["config"], "--data", row["data"], "--out", row["out"]]
    os._exit(training.train.main([*argv, *(w for s in row.get("set", ()) for w in ("--set", s))]))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
