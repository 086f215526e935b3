"""Stages of a model on several ranks, which work on different micro-batches at the same time.

Every rank of a pipeline reads the same rows, so masks and targets are made where they are needed
and only states and their gradients travel. Schedules are those of torch.distributed.pipelining:
1F1B (Narayanan et al. 2019, doi 10.1145/3341301.3359646) or interleaved, where a rank holds several
stages (Narayanan et al. 2021, arXiv 2104.04473). Read `Pipeline.backward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
from torch.distributed.tensor import DTensor

from training.batch import Batch, Objective
from training.config import TrainConfig
from training.layout import ROWS, Layout
from training.scoring import passed


def sent(config: TrainConfig) -> torch.dtype:
    """Type of the states that stages send: FSDP computes all in 16 bits, autocast does not."""
    narrow = config.parallel.strategy == "fsdp" and config.run.precision != "fp32"
    return torch.bfloat16 if narrow else torch.float32


class _AtHand(NamedTuple):
    """What a step is about. loss_sum: of the micro-batches so far, on the last stage."""

    pieces: list[Batch]
    objective: Objective
    scale: torch.Tensor
    loss_sum: torch.Tensor


class Pipeline:
    """The stages of one rank, called as the whole model is; every rank must call."""

    def __init__(
        self, model: Any, stages: Sequence[Any], layout: Layout, config: TrainConfig
    ) -> None:
        """stages: those of this rank, spread as they shall be. model: what they are parts of."""
        self._model, self._layout, self._config = model, layout, config
        self._stages, self._count = stages, config.parallel.stages
        self._group = layout.stages
        self._rank, self._ranks = dist.get_rank(self._group), dist.get_world_size(self._group)
        self._device = torch.device(layout.mesh.device_type)
        self._kind = sent(config)
        self._at_hand: _AtHand | None = None
        self._schedule = self._schedule_of(config)

    def backward(self, batch: Batch, objective: Objective, scale: torch.Tensor) -> torch.Tensor:
        """Add up the gradients of a batch's loss times `scale`, the mean over the ranks with rows.

        Returns the sum of the loss, on all ranks of the pipeline.
        """
        data = self._config.data
        loss_sum = torch.zeros((), device=batch.inputs_BT.device)
        pieces = list(batch.micro(data.micro_rows))
        self._at_hand = _AtHand(pieces, objective, scale, loss_sum)
        seen = {"documents_BT": batch.documents_BT, "prefixes_BT": batch.prefixes_BT}
        self._schedule.step(
            batch.inputs_BT,
            target=torch.arange(len(pieces)),
            return_outputs=False,
            targets_BT=batch.targets_BT,
            **(seen if data.masked else {}),
        )
        self._at_hand = None
        self._add_up()
        dist.broadcast(loss_sum, group=self._group, group_src=self._ranks - 1)
        return loss_sum

    @torch.no_grad()
    def __call__(
        self, inputs_BT: torch.Tensor, targets_BT: torch.Tensor | None, *seen: torch.Tensor
    ) -> torch.Tensor:
        """What `Scored` returns, on all ranks of the pipeline; nothing can be learnt from it."""
        given = inputs_BT
        if targets_BT is None:
            told = torch.empty(len(inputs_BT), dtype=torch.int64, device=inputs_BT.device)
        else:
            told = torch.empty(targets_BT.numel(), device=inputs_BT.device)
        for number in range(self._count):
            if number % self._ranks != self._rank:
                continue
            if number > 0:
                given = self._states(inputs_BT, inputs_BT.device)
                dist.recv(given, group=self._group, group_src=(number - 1) % self._ranks)
            found = passed(self._stages[number // self._ranks], given, targets_BT, *seen)
            if number == self._count - 1:
                told = found
            else:
                dist.send(found, group=self._group, group_dst=(number + 1) % self._ranks)
        dist.broadcast(told, group=self._group, group_src=self._ranks - 1)
        return told

    def _schedule_of(self, config: TrainConfig) -> Any:
        size = config.data.micro_rows
        pieces = config.data.batch_rows // (self._layout.row_ranks * size)
        ids_BT = torch.empty(size, config.data.context, dtype=torch.int64, device="meta")
        states_BTD = self._states(ids_BT, "meta").requires_grad_()
        nats_N = torch.empty(ids_BT.numel(), device="meta", requires_grad=True)
        stages: list[Any] = []
        for place, stage in enumerate(self._stages):
            number = place * self._ranks + self._rank
            given = ids_BT if number == 0 else states_BTD
            found = nats_N if number == self._count - 1 else states_BTD
            stages.append(
                PipelineStage(
                    stage, number, self._count, self._device,
                    input_args=(given,), output_args=(found,), group=self._group,
                )
            )  # fmt: skip
        if config.parallel.schedule == "interleaved":
            return ScheduleInterleaved1F1B(stages, pieces, self._loss, scale_grads=False)
        return Schedule1F1B(stages[0], pieces, self._loss, scale_grads=False)

    def _states(self, ids_BT: torch.Tensor, device: torch.device | str) -> torch.Tensor:
        """Room for what one stage sends to the next."""
        shape = (*ids_BT.shape, self._model.config.hidden_size)
        return torch.empty(shape, dtype=self._kind, device=device)

    def _loss(self, nats_N: torch.Tensor, number_1: torch.Tensor) -> torch.Tensor:
        """Loss of the micro-batch of this number, to be gone back from; the last stage is asked."""
        assert self._at_hand is not None
        pieces, objective, scale, loss_sum = self._at_hand
        piece = pieces[int(number_1)]
        loss = objective.loss(lambda batch: nats_N.view_as(batch.targets_BT), piece)
        loss_sum += loss.detach()
        return loss * scale

    @torch.no_grad()
    def _add_up(self) -> None:
        """Take in what other ranks found of the same gradients."""
        rows = self._layout.mesh[ROWS]
        if self._config.parallel.strategy == "ddp" and rows.size() > 1:
            own = [p.grad for p in self._model.parameters() if p.grad is not None]
            works = [dist.all_reduce(one, group=rows.get_group(), async_op=True) for one in own]
            for work in works:
                work.wait()
            torch._foreach_div_(own, rows.size())
        if self._model.config.tie_word_embeddings and self._rank in (0, self._ranks - 1):
            self._tie(self._model.model.embed_tokens.weight.grad)

    def _tie(self, gradient: torch.Tensor | None) -> None:
        """The first stage embeds with the table that is the last one's head: add both gradients."""
        if gradient is None:
            return
        own = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        other, peer = torch.empty_like(own), self._ranks - 1 - self._rank
        works = dist.batch_isend_irecv([
            dist.P2POp(dist.isend, own.clone(), group=self._group, group_peer=peer),
            dist.P2POp(dist.irecv, other, group=self._group, group_peer=peer),
        ])  # fmt: skip
        for work in works:
            work.wait()
        own += other
