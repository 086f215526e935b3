"""What a run will take before it starts: time, money, memory, checkpoints and failures.

Arithmetic on a shape, a number of GPUs and their rate; nothing is measured here and no library is
needed. Read `make_plan`.

    seconds = 6 P T / (n X), or 8 P T / (n X) when every block is computed again on the way back
              (Narayanan et al. 2021, arXiv 2104.04473), with attention's share where the shape is
              known; X is what a GPU computes in a second, repeated work included
    Young   = sqrt(2 d M), with d seconds a checkpoint, M seconds between failures
    bubble  = (p - 1) / (v m + p - 1): the share of a step in which a rank of a pipeline of p waits,
              with m micro-batches and v stages on a rank (Narayanan et al. 2021, section 2.2)
    Daly    = Young x (1 + sqrt(d/2M)/3 + d/18M) - d where d < 2 M, else M
              (doi 10.1016/j.future.2004.11.016)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tabwright.errors import ConfigError
from training.memory import Memory, Spread, Work, memory, states_per_parameter
from training.shape import Shape

# 419 unexpected interruptions in 54 days on 16,384 GPUs (Llama 3, arXiv 2407.21783, section 3.3.4).
GPU_HOURS_TO_FAILURE = 54 * 24 * 16_384 / 419
# What the allocator, the driver and the network take of a GPU's memory.
KEPT_FREE = 0.08


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines. `tflops`: what one GPU computes in a second, repeated work included."""

    gpus: int
    tflops: float
    memory_gb: float
    node_gpus: int = 8
    disk_gb_s: float = 2.0
    gpu_hours_to_failure: float = GPU_HOURS_TO_FAILURE
    restart_s: float = 600.0
    dollars_per_gpu_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What is trained; without a shape only the number of parameters is known."""

    parameters: int
    shape: Shape | None = None

    @classmethod
    def of(cls, shape: Shape) -> Model:
        """The model of a shape."""
        return cls(shape.parameters, shape)

    def flops_per_token(self, context: int) -> int:
        """Forward and backward, once; attention's share only where the shape is known."""
        return self.shape.flops_per_token(context) if self.shape else 6 * self.parameters


@dataclass(frozen=True, slots=True)
class Fit:
    """One way to spread the model, and what it takes.

    bubble: of a pipeline with one stage on a rank (1F1B) and with two (interleaved); None where
    there is no pipeline or the micro-batches or layers are not enough for it.
    """

    spread: Spread
    memory: Memory
    fits: bool
    fits_recomputed: bool
    bubble: float | None
    bubble_interleaved: float | None


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How large checkpoints are, how often to write one, and what that and failures cost."""

    size_bytes: int
    write_s: float
    failure_every_s: float
    failures: float
    young_s: float
    daly_s: float
    lost_share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known before the run. `seconds` is without failures and checkpoints."""

    parameters: int
    tokens: int
    flops_per_token: int
    flops: float
    seconds: float
    gpu_hours: float
    dollars: float | None
    states_bytes: int
    checkpoints: Checkpoints
    fits: tuple[Fit, ...]


def make_plan(
    model: Model,
    tokens: int,
    cluster: Cluster,
    work: Work,
    *,
    recompute: bool = False,
    spreads: tuple[Spread, ...] = (),
) -> Plan:
    """Plan one run; memory only where the model's shape is known."""
    per_token = model.flops_per_token(work.context)
    seconds = training_seconds(per_token, tokens, cluster.gpus, cluster.tflops, recompute=recompute)
    hours = seconds / 3600 * cluster.gpus
    price = cluster.dollars_per_gpu_hour
    fits = (
        [_fit(model.shape, spread, work, cluster.memory_gb) for spread in spreads]
        if model.shape
        else []
    )
    return Plan(
        parameters=model.parameters,
        tokens=tokens,
        flops_per_token=per_token,
        flops=per_token * tokens * (4 / 3 if recompute else 1),
        seconds=seconds,
        gpu_hours=hours,
        dollars=None if price is None else hours * price,
        states_bytes=saved_bytes(model, work) + 4 * model.parameters,
        checkpoints=_checkpoints(model, cluster, work, seconds),
        fits=tuple(fits),
    )


def training_seconds(
    flops_per_token: float, tokens: float, gpus: int, tflops: float, *, recompute: bool
) -> float:
    """6 P T / (n X), and a third more when the forward pass is made twice."""
    return flops_per_token * (4 / 3 if recompute else 1) * tokens / (gpus * tflops * 1e12)


def young_seconds(write_s: float, failure_every_s: float) -> float:
    """Young's interval between checkpoints."""
    return math.sqrt(2 * write_s * failure_every_s)


def daly_seconds(write_s: float, failure_every_s: float) -> float:
    """Daly's interval, which holds where writing is not much shorter than the time to a failure."""
    if write_s >= 2 * failure_every_s:
        return failure_every_s
    ratio = write_s / (2 * failure_every_s)
    young = young_seconds(write_s, failure_every_s)
    return young * (1 + math.sqrt(ratio) / 3 + ratio / 9) - write_s


def usual_spreads(
    shape: Shape, cluster: Cluster, *, tensor: int = 0, pipeline: int = 0
) -> tuple[Spread, ...]:
    """Copies, shards, tensor parallel, pipeline and both; 0 takes the widest up to a node or 8.

    Raises:
        ConfigError: a width does not divide what it has to.
    """
    tp = tensor or _widest(cluster.node_gpus, (shape.kv_heads, shape.inner, cluster.gpus))
    for name, whole in (("heads", shape.heads), ("kv_heads", shape.kv_heads)):
        if whole % tp:
            raise ConfigError(f"--tp {tp}: must divide the model's {name} ({whole})")
    pp = pipeline or _widest(8, (shape.layers, cluster.gpus))
    both = pipeline or _widest(8, (shape.layers, cluster.gpus // tp))
    if shape.layers % pp:
        raise ConfigError(f"--pp {pp}: must divide the model's layers ({shape.layers})")
    if cluster.gpus % (tp * both):
        raise ConfigError(f"--tp {tp} x --pp {both}: must divide the {cluster.gpus} GPUs")
    return tuple(_distinct(cluster.gpus, tp, pp, both))


def saved_bytes(model: Model, work: Work) -> int:
    """Weights in 32 bits and the optimizer's states: what a checkpoint holds."""
    states = states_per_parameter(model.shape, work.optimizer) if model.shape else 8
    return int(model.parameters * (4 + states))


def _distinct(gpus: int, tp: int, pp: int, both: int) -> Iterator[Spread]:
    yield Spread("ddp", gpus)
    if gpus > 1:
        yield Spread("fsdp", gpus, sharded=True)
    if tp > 1:
        yield Spread(f"tp {tp}", gpus // tp, tensor=tp)
        if gpus > tp:
            yield Spread(f"tp {tp} + fsdp", gpus // tp, tensor=tp, sharded=True)
    if pp > 1:
        yield Spread(f"pp {pp}", gpus // pp, pipeline=pp)
    if tp > 1 and both > 1:
        yield Spread(f"tp {tp} + pp {both}", gpus // (tp * both), tensor=tp, pipeline=both)


def _widest(most: int, wholes: tuple[int, ...]) -> int:
    """The largest power of two up to `most` that divides all of them."""
    width = 1
    while 2 * width <= most and all(whole % (2 * width) == 0 for whole in wholes):
        width *= 2
    return width


def _fit(shape: Shape, spread: Spread, work: Work, memory_gb: float) -> Fit:
    needed, room = memory(shape, spread, work), memory_gb * 1e9 * (1 - KEPT_FREE)
    return Fit(
        spread,
        needed,
        fits=needed.total(recompute=False) <= room,
        fits_recomputed=needed.total(recompute=True) <= room,
        bubble=_bubble(shape, spread, work, virtual=1),
        bubble_interleaved=_bubble(shape, spread, work, virtual=2),
    )


def bubble_share(pipeline: int, pieces: int, virtual: int = 1) -> float:
    """Share of a step in which a rank waits for the others' stages."""
    return (pipeline - 1) / (virtual * pieces + pipeline - 1)


def _bubble(shape: Shape, spread: Spread, work: Work, *, virtual: int) -> float | None:
    """The bubble, where the trainer would take so many stages."""
    pieces = work.batch_rows // (spread.copies * work.micro_rows)
    even = shape.layers % (spread.pipeline * virtual) == 0
    enough = pieces >= spread.pipeline and (virtual == 1 or pieces % spread.pipeline == 0)
    if spread.pipeline == 1 or not (even and enough):
        return None
    return bubble_share(spread.pipeline, pieces, virtual)


def _checkpoints(model: Model, cluster: Cluster, work: Work, seconds: float) -> Checkpoints:
    size = saved_bytes(model, work)
    nodes = -(-cluster.gpus // cluster.node_gpus)
    write_s = size / (cluster.disk_gb_s * 1e9 * nodes)
    every_s = cluster.gpu_hours_to_failure * 3600 / cluster.gpus
    daly_s = daly_seconds(write_s, every_s)
    return Checkpoints(
        size_bytes=size,
        write_s=write_s,
        failure_every_s=every_s,
        failures=seconds / every_s,
        young_s=young_seconds(write_s, every_s),
        daly_s=daly_s,
        lost_share=write_s / daly_s + (daly_s / 2 + cluster.restart_s) / every_s,
    )
