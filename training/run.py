"""What one rank holds of a run: fresh, from other weights, or resumed. Read `Run.start`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from tabwright.errors import ConfigError
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.batch import Batch, Objective
from training.checkpoint import latest_checkpoint, prune_checkpoints, save_checkpoint
from training.config import TrainConfig
from training.data.shards import HELD_OUT, TRAIN, read_manifest
from training.distributed import barrier, own_device, rank_and_world, total
from training.loader import Ahead, Loader
from training.model import build_model
from training.objectives.next_token import NextToken
from training.optimizer import Optimizer
from training.reading import open_loader
from training.run_folder import claim, load_weights, restore
from training.scoring import Scored
from training.step import AcceptAll, Guard

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """Everything one rank holds. `step` counts finished optimizer steps."""

    config: TrainConfig
    data: Path
    checkpoints: Path
    rank: int
    world: int
    device: torch.device
    training: Ahead
    held_out: Loader
    model: Any
    replica: Any
    scored: Any
    optimizer: Optimizer
    objective: Objective
    guard: Guard
    step: int = 0

    @classmethod
    def start(cls, config: TrainConfig, data: Path, out: Path, init_from: Path | None) -> Run:
        """Open the data and build the model: fresh, from other weights, or resumed.

        Raises:
            ConfigError: the world size does not divide the batch, or `out` is another run's.
            CorruptArtifact: a shard was altered.
        """
        rank, world = rank_and_world()
        _check_rows(config, world)
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        device = own_device()
        tokenizer = Tokenizer.from_file(data / "tokenizer.json")
        fim = FimFormat.bind("tabwright", tokenizer, "spm")
        torch.manual_seed(config.data.seed)
        model: Any = build_model(config.model, tokenizer.vocab_size, fim)
        model.to(device)
        optimizer = Optimizer(model.named_parameters(), config.optimizer)
        if rank == 0:
            claim(out, config, read_manifest(data)["digest"], init_from)
        barrier()
        resumed = latest_checkpoint(out / "checkpoints")
        step = restore(model, optimizer, resumed, device) if resumed else 0
        if init_from is not None and not resumed:
            load_weights(model, init_from / "model")
        scored = Scored(model, bf16=config.run.precision == "bf16")
        replica = DistributedDataParallel(scored) if world > 1 else scored
        return cls(
            config=config,
            data=data,
            checkpoints=out / "checkpoints",
            rank=rank,
            world=world,
            device=device,
            training=Ahead(open_loader(config.data, data, TRAIN)),
            held_out=open_loader(config.data, data, HELD_OUT),
            model=model,
            replica=replica,
            scored=torch.compile(replica) if config.run.compile else replica,
            optimizer=optimizer,
            objective=NextToken(),
            guard=AcceptAll(),
            step=step,
        )

    def nats(self, batch: Batch) -> torch.Tensor:
        """Nats of each target of a batch, 0 where it is ignored."""
        nats_BT: torch.Tensor = self.scored(batch.inputs_BT, batch.targets_BT)
        return nats_BT

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss over the first `run.eval_rows` held-out rows, holes included."""
        rows = Batch.of(self.held_out.batch(0, self.config.run.eval_rows), self.device)
        loss_sum, counted = (torch.zeros((), device=self.device) for _ in range(2))
        for number, micro in enumerate(rows.micro(self.config.data.micro_rows)):
            if number % self.world == self.rank:
                loss_sum += self.objective.loss(self.nats, micro)
                counted += self.objective.weight(micro)
        return float(total(loss_sum) / total(counted))

    def save(self) -> None:
        """Write a checkpoint (rank 0) and drop the oldest ones."""
        if self.rank == 0:
            state = {"optimizer": self.optimizer.state_dict()}
            tokenizer = self.data / "tokenizer.json"
            path = save_checkpoint(self.checkpoints, self.step, self.model, tokenizer, state)
            prune_checkpoints(self.checkpoints, self.config.run.keep_checkpoints)
            logger.info("saved %s", path)
        barrier()


def _check_rows(config: TrainConfig, world: int) -> None:
    if config.data.batch_rows % (world * config.data.micro_rows):
        raise ConfigError(
            f"data.batch_rows ({config.data.batch_rows}) must be a multiple of world size x "
            f"data.micro_rows ({world} x {config.data.micro_rows})"
        )
