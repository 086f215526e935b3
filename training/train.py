"""The training run: `torchrun -m training.train --config tiny --data SHARDS --out DIR`.

Read `train`, then `Run.advance`. Every rank reads its rows of the step's batch, gradients are
averaged over the ranks (gloo on CPUs, nccl on GPUs), rank 0 writes metrics and checkpoints. A run
started again in the same folder goes on after its newest good checkpoint. SIGTERM saves and leaves.
Not here: sharded parameters, loss-spike policy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from tabwright.artifact import write_json
from tabwright.errors import ConfigError, TabwrightError
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.checkpoint import latest_checkpoint, prune_checkpoints, save_checkpoint
from training.config import TrainConfig, load_config
from training.data.infill import Infilling
from training.data.shards import HELD_OUT, TRAIN, open_shards, read_manifest
from training.loader import IGNORE, Loader
from training.model import build_model
from training.optimizer import Optimizer, rate_share

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; every rank of torchrun calls this."""
    parser = argparse.ArgumentParser(
        prog="torchrun -m training.train",
        epilog="example: torchrun --nproc-per-node 2 -m training.train --config tiny "
        "--data data/shards --out runs/tiny",
    )
    parser.add_argument("--config", default="tiny", help="name in training/configs, or a file")
    parser.add_argument("--data", type=Path, required=True, help="shard folder")
    parser.add_argument("--out", type=Path, required=True, help="run folder; resumed if it exists")
    parser.add_argument("--init-from", type=Path, help="checkpoint whose weights to start from")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_config(args.config, args.set)
        with _process_group():
            train(config, args.data, args.out, init_from=args.init_from)
    except TabwrightError as error:
        sys.stderr.write(f"training.train: {error}\n")
        return 2
    return 0


def train(config: TrainConfig, data: Path, out: Path, *, init_from: Path | None = None) -> None:
    """Train `config` on the shards in `data`, writing into the folder `out`.

    Raises:
        ConfigError: the world size does not divide the batch, or `out` is another run's.
        CorruptArtifact: a shard was altered.
    """
    run = Run.start(config, data, out, init_from)
    stop = _StopSignal()
    with _metrics(out / "metrics.jsonl") as write:
        while run.step < config.schedule.steps and not stop.anywhere(run.device):
            began = time.perf_counter()
            row = run.advance()
            finished = run.step == config.schedule.steps
            if run.step % config.run.eval_every == 0 or finished:
                row["held_out_loss"] = run.held_out_loss()
            write({**row, "seconds": time.perf_counter() - began})
            if run.step % config.run.checkpoint_every == 0 or finished:
                run.save()
    if stop.received:
        run.save()


@dataclass(slots=True)
class Run:
    """Everything one rank holds. `step` counts finished optimizer steps."""

    config: TrainConfig
    data: Path
    checkpoints: Path
    rank: int
    world: int
    device: torch.device
    training: Loader
    held_out: Loader
    model: Any
    replica: Any
    forward: Any
    optimizer: Optimizer
    step: int = 0

    @classmethod
    def start(cls, config: TrainConfig, data: Path, out: Path, init_from: Path | None) -> Run:
        """Open the data and build the model: fresh, from other weights, or resumed."""
        rank, world = _rank_and_world()
        if config.data.batch_rows % (world * config.data.micro_rows):
            raise ConfigError(
                f"data.batch_rows ({config.data.batch_rows}) must be a multiple of world size x "
                f"data.micro_rows ({world} x {config.data.micro_rows})"
            )
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        device = _device()
        tokenizer = Tokenizer.from_file(data / "tokenizer.json")
        fim = FimFormat.bind("tabwright", tokenizer, "spm")
        torch.manual_seed(config.data.seed)
        model: Any = build_model(config.model, tokenizer.vocab_size, fim)
        model.to(device)
        optimizer = Optimizer(model.named_parameters(), config.optimizer)
        if rank == 0:
            _claim(out, config, read_manifest(data)["digest"], init_from)
        _barrier()
        resumed = latest_checkpoint(out / "checkpoints")
        step = _restore(model, optimizer, resumed, device) if resumed else 0
        if init_from is not None and not resumed:
            _load_weights(model, init_from / "model")
        replica = DistributedDataParallel(model) if world > 1 else model
        forward = torch.compile(replica) if config.run.compile else replica
        return cls(
            config=config,
            data=data,
            checkpoints=out / "checkpoints",
            rank=rank,
            world=world,
            device=device,
            training=_loader(data, TRAIN, tokenizer, fim, config),
            held_out=_loader(data, HELD_OUT, tokenizer, fim, config),
            model=model,
            replica=replica,
            forward=forward,
            optimizer=optimizer,
            step=step,
        )

    def advance(self) -> dict[str, float]:
        """Make one optimizer step over the batch of all ranks; returns its measurements."""
        config, micro = self.config, self.config.data.micro_rows
        rows = self.training.batch(self.step, config.data.batch_rows, self.rank, self.world)
        inputs_BT = torch.from_numpy(rows.inputs_BT).to(self.device)
        targets_BT = torch.from_numpy(rows.targets_BT).to(self.device)
        counted = _sum((targets_BT != IGNORE).sum())
        total = torch.zeros((), device=self.device)
        for at in range(0, len(inputs_BT), micro):
            with self._gradients_travel(last=at + micro >= len(inputs_BT)):
                loss = self._loss(inputs_BT[at : at + micro], targets_BT[at : at + micro])
                # DDP averages over ranks; the batch's mean is over all its tokens.
                torch.autograd.backward(loss * (self.world / counted))
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optimizer.clip_norm)
        share = rate_share(self.step, config.schedule)
        self.optimizer.step(share)
        self.step += 1
        mean = float(_sum(total) / counted)
        return {"step": self.step, "loss": mean, "grad_norm": float(norm),
                "lr_share": share, "tokens": int(counted)}  # fmt: skip

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean nats per token over the first `run.eval_rows` held-out rows, holes included."""
        micro, wanted = self.config.data.micro_rows, self.config.run.eval_rows
        rows = self.held_out.batch(0, wanted)
        total, counted = (torch.zeros((), device=self.device) for _ in range(2))
        for at in range(self.rank * micro, wanted, self.world * micro):
            inputs_BT = torch.from_numpy(rows.inputs_BT[at : at + micro]).to(self.device)
            targets_BT = torch.from_numpy(rows.targets_BT[at : at + micro]).to(self.device)
            total += self._loss(inputs_BT, targets_BT)
            counted += (targets_BT != IGNORE).sum()
        return float(_sum(total) / _sum(counted))

    def save(self) -> None:
        """Write a checkpoint (rank 0) and drop the oldest ones."""
        if self.rank == 0:
            state = {"optimizer": self.optimizer.state_dict()}
            tokenizer = self.data / "tokenizer.json"
            path = save_checkpoint(self.checkpoints, self.step, self.model, tokenizer, state)
            prune_checkpoints(self.checkpoints, self.config.run.keep_checkpoints)
            logger.info("saved %s", path)
        _barrier()

    def _loss(self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        """Sum of the cross-entropy in nats."""
        bf16 = self.config.run.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits_BTV = self.forward(input_ids=inputs_BT).logits
        return F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
        )

    def _gradients_travel(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Only the last micro-batch of a step sends its gradients to the other ranks."""
        waits: contextlib.AbstractContextManager[None] = (
            self.replica.no_sync() if self.world > 1 and not last else contextlib.nullcontext()
        )
        return waits


def _loader(
    data: Path, split: str, tokenizer: Tokenizer, fim: FimFormat, config: TrainConfig
) -> Loader:
    rates = (config.data.fim_rate, config.data.spm_rate, config.data.header_rate)
    infilling = Infilling(tokenizer, fim, *rates)
    shards = open_shards(data, split)
    return Loader(shards, infilling, context=config.data.context, seed=config.data.seed)


@contextlib.contextmanager
def _metrics(file: Path) -> Iterator[Callable[[dict[str, float]], None]]:
    """Append rows to `file` and the log; ranks other than 0 write nothing."""
    if _rank_and_world()[0] != 0:
        yield _ignore
        return
    with file.open("a", encoding="utf-8") as stream:

        def write(row: dict[str, float]) -> None:
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            logger.info("%s", " ".join(f"{k}={_short(v)}" for k, v in row.items()))

        yield write


def _ignore(_: dict[str, float]) -> None:
    """Take a row and forget it."""


def _claim(out: Path, config: TrainConfig, data: str, init_from: Path | None) -> None:
    """Write down what this run is, or refuse a folder that belongs to another one."""
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    file = out / "run.json"
    mine = {"config": config.model_dump(), "data": data, "init_from": init_from and str(init_from)}
    if file.exists():
        theirs = json.loads(file.read_text("utf-8"))
        differing = [key for key, value in mine.items() if theirs.get(key) != value]
        if differing:
            raise ConfigError(f"{out} holds a run with other {', '.join(differing)}; use another")
    write_json(file, mine)


def _restore(model: Any, optimizer: Optimizer, checkpoint: Path, device: torch.device) -> int:
    _load_weights(model, checkpoint / "model")
    state = torch.load(checkpoint / "trainer.pt", map_location=device, weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _load_weights(model: Any, folder: Path) -> None:
    from safetensors.torch import load_model

    load_model(model, folder / "model.safetensors")


class _StopSignal:
    """SIGTERM or SIGINT asks for a checkpoint and an end; all ranks agree on the step."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.received = True

    def anywhere(self, device: torch.device) -> bool:
        self.received = bool(_sum(torch.tensor(float(self.received), device=device)) > 0)
        return self.received


@contextlib.contextmanager
def _process_group() -> Any:
    if "RANK" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _sum(value: torch.Tensor) -> torch.Tensor:
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def _short(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
