"""Training steps a second side by side: ours, a plain PyTorch loop, Hugging Face Trainer.

    python docs/results/throughput.py [--data SHARDS] [--steps 12] [--out FILE.json]

One process, the same Llama shape, rows, tokens, precision, optimizer (AdamW) and threads. The three
take turns step by step, so whatever else the machine does falls on all alike; the figure is the
median over the steps of the time of the other divided by ours. The plain loop is the best one we
could write: compiled, bf16 autocast, rows cut at random out of one array of ids as nanoGPT does.
The Trainer is compiled too. Ours reads real shards, cuts holes, makes rows and checks each step,
and all of that is in its time: nothing is read ahead. Without --data, shards are made of parts
of the standard library. Needs the extra `train` and accelerate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from tabwright.cli import main as tabwright
from training.config import TrainConfig, load_config
from training.data.shards import TRAIN, open_shards
from training.distributed import process_group
from training.reading import open_loader
from training.run import Run
from training.step import advance

WARM_UP = 3
_PARTS = ("json", "http", "email", "logging", "asyncio", "unittest", "xml", "concurrent")
_RATE, _CLIP = 1e-3, 1.0


def make_shards(folder: Path) -> Path:
    """Shards of parts of the standard library."""
    config = "[tokenizer]\nvocab_size = 8192\n[dedup]\nnear = false\n"
    for name in _PARTS:
        config += f'[[source]]\nkind = "folder"\nname = "{name}"\nlicence = "PSF-2.0"\n'
        config += f'folder = "{Path(sysconfig.get_path("stdlib")) / name}"\n'
        config += f"held_out = {str(name == 'xml').lower()}\n"
    (folder / "data.toml").write_text(config)
    words = ["--config", str(folder / "data.toml"), "--out", str(folder / "data"), "--workers", "1"]
    if tabwright(["train", "data", "run", *words]):
        raise SystemExit("no shards were made")
    return folder / "data" / "shards"


def ours(config: TrainConfig, data: Path, out: Path) -> tuple[Callable[[], None], Any]:
    """A step of this repository's trainer, and the model that the others copy."""
    run = Run.start(config, data, out, None)
    run.training.close()
    run.training = open_loader(config.data, data, TRAIN)  # type: ignore[assignment]

    def step() -> None:
        advance(run)

    return step, run.model


def plain(model: Any, config: TrainConfig, ids: np.ndarray[Any, Any]) -> Callable[[], None]:
    """A step of a plain loop over `ids`."""
    compiled = torch.compile(model) if config.run.compile else model
    optimizer = torch.optim.AdamW(
        model.parameters(), _RATE, (0.9, 0.95), weight_decay=0.1, fused=True
    )
    rows, context = config.data.batch_rows, config.data.context
    rng = np.random.default_rng(0)

    def step() -> None:
        starts = rng.integers(len(ids) - context - 1, size=rows)
        pieces = np.stack([ids[at : at + context + 1] for at in starts]).astype(np.int64)
        batch = torch.from_numpy(pieces)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.run.precision == "bf16"):
            logits = compiled(input_ids=batch[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


class Turns(transformers.TrainerCallback):
    """After each step of the Trainer, the others make theirs; all are timed."""

    def __init__(self, others: dict[str, Callable[[], None]]) -> None:
        """`others`: their steps by name."""
        self._others = others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("trainer", *others)}
        self.processor: dict[str, list[float]] = {name: [] for name in ("trainer", *others)}
        self._since = _clocks()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take the time of the Trainer's step, then run the others."""
        self._note("trainer", self._since)
        for name, step in self._others.items():
            began = _clocks()
            step()
            self._note(name, began)
        print(" ".join(f"{name} {took[-1]:.2f}" for name, took in self.seconds.items()), flush=True)
        self._since = _clocks()

    def _note(self, name: str, began: tuple[float, float]) -> None:
        wall, busy = _clocks()
        self.seconds[name].append(wall - began[0])
        self.processor[name].append(busy - began[1])


def _clocks() -> tuple[float, float]:
    """Seconds, and seconds that the processor worked for this process, all threads together."""
    return time.perf_counter(), time.process_time()


class Pieces(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Rows for the Trainer: the same array of ids, cut one after the other."""

    def __init__(self, ids: np.ndarray[Any, Any], context: int) -> None:
        """`ids` stay where they are."""
        self._ids, self._context = ids, context

    def __len__(self) -> int:
        return len(self._ids) // self._context

    def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
        piece = self._ids[at * self._context : (at + 1) * self._context].astype(np.int64)
        return {"input_ids": torch.from_numpy(piece), "labels": torch.from_numpy(piece)}


def trainer(
    model: Any, config: TrainConfig, ids: np.ndarray[Any, Any], turns: Turns, steps: int, out: Path
) -> None:
    """Let Hugging Face Trainer lead, the others follow."""
    arguments = transformers.TrainingArguments(
        output_dir=str(out), per_device_train_batch_size=config.data.batch_rows, max_steps=steps,
        learning_rate=_RATE, weight_decay=0.1, adam_beta2=0.95, max_grad_norm=_CLIP, use_cpu=True,
        bf16=config.run.precision == "bf16", torch_compile=config.run.compile, save_strategy="no",
        logging_strategy="no", report_to=[], disable_tqdm=True, optim="adamw_torch_fused",
    )  # fmt: skip
    transformers.Trainer(
        model=model, args=arguments, train_dataset=Pieces(ids, config.data.context),
        callbacks=[turns],
    ).train()  # fmt: skip


def measure(data: Path, steps: int, sets: list[str], scratch: Path) -> dict[str, Any]:
    """Times of all three."""
    fixed = ["optimizer.name=adamw", f"optimizer.lr={_RATE}", f"optimizer.embedding_lr={_RATE}"]
    config = load_config("tiny", [*fixed, *sets])
    ids = np.concatenate([np.asarray(shard.ids) for shard in open_shards(data, TRAIN)])
    with process_group():
        step, model = ours(config, data, scratch / "run")
        copies = [type(model)(model.config) for _ in range(2)]
        turns = Turns({"plain": plain(copies[0], config, ids), "ours": step})
        trainer(copies[1], config, ids, turns, steps + WARM_UP, scratch / "trainer")
    taken, busy = (
        {name: took[WARM_UP:] for name, took in clock.items()}
        for clock in (turns.seconds, turns.processor)
    )
    tokens = config.data.batch_rows * config.data.context
    return {
        "config": config.model_dump(mode="json"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_a_step": tokens,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "seconds": taken,
        "tokens_a_second": {n: tokens / statistics.median(took) for n, took in taken.items()},
        "processor_seconds": busy,
        "ours_against": _against(taken),
        "ours_against_by_processor": _against(busy),
        "packages": {name: version(name) for name in ("torch", "transformers", "accelerate")},
    }


def _against(taken: dict[str, list[float]]) -> dict[str, float]:
    """Time of the other over ours, the median of all turns."""
    return {
        name: statistics.median(
            other / own for other, own in zip(taken[name], taken["ours"], strict=True)
        )
        for name in ("plain", "trainer")
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = args.data or make_shards(Path(scratch))
        result = measure(data, args.steps, args.set, Path(scratch))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    told = ("tokens_a_second", "ours_against", "ours_against_by_processor", "load")
    print(json.dumps({name: result[name] for name in told}, indent=2))


if __name__ == "__main__":
    main()
