"""What one rank holds of a run: fresh, from other weights, or resumed. Read `Run.start`."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tabwright.errors import ConfigError, CorruptArtifact
from tabwright.fim import FimFormat
from tabwright.tokenizer import Tokenizer
from training.adapters import adapt
from training.averaging import Average
from training.batch import Batch, Objective
from training.config import TrainConfig
from training.consumed import Consumed
from training.data.shards import HELD_OUT, TRAIN, read_manifest
from training.distributed import own_device
from training.family import bind_family
from training.gradients import Held, held
from training.layout import Layout
from training.loader import Ahead, RowSource
from training.model import build_model
from training.objectives.next_token import NextToken
from training.objectives.preference import Preference
from training.optimizer import Optimizer
from training.pace import Pace
from training.parallel import spread
from training.reading import open_rows
from training.run_folder import claim, load_weights, memory_of, newest
from training.saving import Saver, restore
from training.scoring import Scored, passed
from training.step import AcceptAll, Guard
from training.suspects import guard_of
from training.watchdog import Watchdog


@dataclass(slots=True)
class Run:
    """Everything one rank holds. `step` counts finished optimizer steps.

    size: parameters of all ranks together, each counted once.
    """

    config: TrainConfig
    fim: FimFormat
    layout: Layout
    device: torch.device
    training: Ahead
    held_out: RowSource
    model: Any
    size: int
    scored: Any
    parameters: Held
    optimizer: Optimizer
    average: Average | None
    objective: Objective
    guard: Guard
    saver: Saver
    consumed: Consumed
    watchdog: Watchdog
    pace: Pace
    step: int = 0

    @classmethod
    def start(cls, config: TrainConfig, data: Path, out: Path, init_from: Path | None) -> Run:
        """Open the data and build the model: fresh, from other weights, or resumed.

        Raises:
            ConfigError: the ranks cannot share the work, or `out` is another run's.
            CorruptArtifact: a shard was altered.
        """
        device = own_device()
        layout = Layout.of(config, device)
        _set_up_torch(config)
        tokenizer = Tokenizer.from_file(data / "tokenizer.json")
        fim = bind_family(config.data.family, tokenizer)
        if dist.get_rank() == 0:
            claim(out, config, read_manifest(data)["digest"], init_from)
        dist.barrier()
        resumed = newest(out, config.checkpoint.second)
        torch.manual_seed(config.data.seed)
        model: Any = build_model(config.model, tokenizer.vocab_size, fim)
        # What stays frozen is in no checkpoint of its own.
        lasting = config.adapter is not None or config.preference is not None
        if init_from is not None and (lasting or not resumed):
            load_weights(model, init_from / "model")
        objective = _objective(config, model, device, init_from)
        size = sum(parameter.numel() for parameter in model.parameters())
        scored = spread(Scored(model.to(device), config.run.precision), layout, config)
        decay = config.checkpoint.average
        run = cls(
            config=config,
            fim=fim,
            layout=layout,
            device=device,
            training=Ahead(open_rows(config, data, TRAIN)),
            held_out=open_rows(config, data, HELD_OUT),
            model=model,
            size=size,
            scored=scored,
            parameters=held(model),
            optimizer=Optimizer(model.named_parameters(), config.optimizer),
            average=Average(model.named_parameters(), decay) if decay else None,
            objective=objective,
            guard=AcceptAll(),
            saver=Saver(out / "checkpoints", config.checkpoint, model, data / "tokenizer.json"),
            consumed=Consumed(),
            watchdog=Watchdog(
                out / "ranks", dist.get_rank(), dist.get_world_size(), config.run.hang_seconds
            ),
            pace=Pace(config.run.straggler_factor, device),
        )
        if resumed:
            run.step, memory = memory_of(resumed)
            run.consumed = Consumed(memory["consumed"])
            restore(resumed, run.state())
        run.guard = guard_of(run, data, out)
        return run

    def nats(self, batch: Batch) -> torch.Tensor:
        """Nats of each target of a batch, 0 where it is ignored."""
        return _nats(self.scored, self.config, batch)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss over the first `run.eval_rows` held-out rows, holes included."""
        size, layout = self.config.data.micro_rows, self.layout
        rows = Batch.of(self.held_out.batch(0, self.config.run.eval_rows), self.device)
        sums = torch.zeros(2, device=self.device)
        pieces = list(rows.micro(size))
        # Every rank calls the model as often as the others: their shares of it may be needed.
        for at in range(0, len(pieces), layout.row_ranks):
            number = at + layout.row_rank
            self.watchdog.does("measuring held-out rows")
            micro = pieces[min(number, len(pieces) - 1)]
            loss, weight = self.objective.loss(self.nats, micro), self.objective.weight(micro)
            if number < len(pieces):
                sums += torch.stack([loss, weight.float()])
        loss_sum, counted = layout.total(sums).tolist()
        return float(loss_sum / counted)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that a checkpoint restores, in this rank's layout."""
        averaged = self.average.tensors if self.average else {}
        return {
            **{f"model.{name}": p.detach() for name, p in self.model.named_parameters()},
            **{f"optimizer.{name}": t for name, t in self.optimizer.tensors().items()},
            **{f"average.{name}": t for name, t in averaged.items()},
        }

    def save(self) -> None:
        """Begin a checkpoint of this step; training may go on at once."""
        lanes = torch.tensor(self.consumed.lanes, device=self.device)
        self.consumed.gather(self.layout.total(lanes).tolist())
        self.saver.save(self.step, self.state(), memory={"consumed": self.consumed.digest()})

    def close(self) -> None:
        """Wait for the last checkpoint and end the threads.

        Raises:
            CorruptArtifact: it could not be written.
        """
        self.training.close()
        if not self.saver.close():
            raise CorruptArtifact("the last checkpoint could not be written; see the log for why")


def _nats(scored: Any, config: TrainConfig, batch: Batch) -> torch.Tensor:
    seen = (batch.documents_BT, batch.prefixes_BT) if config.data.masked else ()
    return passed(scored, batch.inputs_BT, batch.targets_BT, *seen).view_as(batch.targets_BT)


def _objective(
    config: TrainConfig, model: Any, device: torch.device, init_from: Path | None
) -> Objective:
    """What the run minimises; adapts `model`, and keeps a copy of it to be compared with."""
    started = init_from is not None or config.model.checkpoint is not None
    for name in ("adapter", "preference"):
        if getattr(config, name) is not None and not started:
            raise ConfigError(f"{name}: give --init-from or model.checkpoint to start from")
    objective: Objective = NextToken()
    if config.preference is not None:
        before = Scored(deepcopy(model).to(device), config.run.precision)
        before.requires_grad_(False)
        objective = Preference(partial(_nats, before, config), config.preference.beta)
    if config.adapter is not None:
        adapt(model, config.adapter)
    return objective


def _set_up_torch(config: TrainConfig) -> None:
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    torch.use_deterministic_algorithms(config.run.deterministic)
