"""`tabwright train plan`: what a run will take, as text or JSON, before it starts."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tabwright.errors import ConfigError
from training.accelerators import ACCELERATORS, find_accelerator
from training.config import ModelSection, TrainConfig, load_config
from training.memory import Work
from training.plan import (
    GPU_HOURS_TO_FAILURE,
    KEPT_FREE,
    Cluster,
    Fit,
    Model,
    Plan,
    make_plan,
    usual_spreads,
)
from training.records import METRICS, STARTS, read_lines
from training.shape import Shape

_ASSUMED_MFU, ASSUMED_VOCABULARY = 0.4, 32_768
_POSITIVE = (
    "parameters", "tokens", "vocab_size", "peak_tflops", "memory_gb", "tflops", "gpus",
    "node_gpus", "disk_gb_s", "mtbf_hours", "dollars_per_gpu_hour",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Rate:
    """What one GPU computes in a second, and how that is known."""

    tflops: float
    peak_tflops: float
    memory_gb: float
    device: str
    known: str


def add_plan(verbs: Any) -> None:
    """Add the verb to those of `tabwright train`."""
    verb = verbs.add_parser("plan", help="time, cost, memory and checkpoints of a run to come",
                            epilog="example: tabwright train plan --config tiny --gpus 8 "
                            "--gpu h100 --tokens 100e9")  # fmt: skip
    add = verb.add_argument
    add("--config", help="the run's config (default: tiny, unless --parameters is given)")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    add("--parameters", type=float, help="instead of --config, when no more is known")
    add("--tokens", type=float, help="default: those of the config's steps")
    add("--vocab-size", type=int, help=f"default: that of --data, or {ASSUMED_VOCABULARY}")
    add("--data", type=Path, help="shard folder whose vocabulary will be used")
    add("--gpus", type=int, default=1)
    add("--gpu", default="h100", help="one of " + ", ".join(row.name for row in ACCELERATORS))
    add("--peak-tflops", type=float, help="of a device that is not in the list")
    add("--memory-gb", type=float, help="of a device that is not in the list")
    rate = verb.add_mutually_exclusive_group()
    rate.add_argument("--mfu", type=float, help=f"share of the peak (assumed: {_ASSUMED_MFU})")
    rate.add_argument("--tflops", type=float, help="what a GPU computes in a second, measured")
    rate.add_argument("--run", type=Path, dest="folder", help="take the rate of this run's steps")
    add("--recompute", action="store_true", help="every block is computed again on the way back")
    add("--tp", type=int, default=0, help="GPUs that share a matrix (default: up to a node)")
    add("--pp", type=int, default=0, help="stages of a pipeline (default: up to 8)")
    add("--node-gpus", type=int, default=8)
    add("--disk-gb-s", type=float, default=2.0, help="a node writes (tabwright train doctor)")
    add("--mtbf-hours", type=float, default=GPU_HOURS_TO_FAILURE,
        help=f"GPU hours to a failure (Llama 3 had {GPU_HOURS_TO_FAILURE:,.0f})")  # fmt: skip
    add("--restart-minutes", type=float, default=10.0)
    add("--dollars-per-gpu-hour", type=float)
    add("--json", action="store_true")
    verb.set_defaults(run=_plan)


def _plan(args: argparse.Namespace) -> int:
    _check(args)
    config = None if args.parameters else load_config(args.config or "tiny", args.set)
    rate = _rate(args)
    cluster = Cluster(
        gpus=args.gpus,
        tflops=rate.tflops,
        memory_gb=rate.memory_gb,
        node_gpus=min(args.node_gpus, args.gpus),
        disk_gb_s=args.disk_gb_s,
        gpu_hours_to_failure=args.mtbf_hours,
        restart_s=args.restart_minutes * 60,
        dollars_per_gpu_hour=args.dollars_per_gpu_hour,
    )
    model = _model(args, config)
    spreads = (
        usual_spreads(model.shape, cluster, tensor=args.tp, pipeline=args.pp) if model.shape else ()
    )
    tokens = int(args.tokens or _tokens(config))
    work = work_of(config)
    plan = make_plan(model, tokens, cluster, work, recompute=args.recompute, spreads=spreads)
    if args.json:
        shown = {"rate": asdict(rate), "cluster": asdict(cluster), "work": asdict(work)}
        print(json.dumps({**asdict(plan), **shown, "recompute": args.recompute}))
    else:
        print("\n".join(_lines(plan, rate, cluster, work, recompute=args.recompute)))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.config and args.parameters:
        raise ConfigError("--parameters: give either it or --config")
    if args.parameters and not args.tokens:
        raise ConfigError("--parameters: give --tokens too")
    if args.mfu is not None and not 0 < args.mfu <= 1:
        raise ConfigError(f"--mfu {args.mfu:g}: a share above 0 and up to 1")
    for name in _POSITIVE:
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: a number above 0")
    for name in ("tp", "pp", "restart_minutes"):
        if not 0 <= getattr(args, name) < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(args, name):g}: 0 or more")


def _rate(args: argparse.Namespace) -> _Rate:
    if (args.peak_tflops is None) != (args.memory_gb is None):
        raise ConfigError("--peak-tflops and --memory-gb: give both, or neither and --gpu")
    if args.peak_tflops:
        device, peak, memory_gb = "device", args.peak_tflops, args.memory_gb
    else:
        row = find_accelerator(args.gpu)
        device, peak, memory_gb = row.name, row.peak_tflops, row.memory_gb
    measured = _measured(args.folder) if args.folder else None
    tflops = measured or args.tflops or (args.mfu or _ASSUMED_MFU) * peak
    if tflops > peak:
        flag = "--run" if measured else "--tflops"
        raise ConfigError(f"{flag}: {tflops:g} TFLOP/s are above the peak of {device}, {peak:g}")
    known = "measured" if measured else "given" if args.tflops or args.mfu else "assumed"
    return _Rate(tflops, peak, memory_gb, device, known)


def _measured(folder: Path) -> float:
    """TFLOP/s of one rank in the median step of a run, repeated work included."""
    starts, rows = read_lines(folder / STARTS), read_lines(folder / METRICS)
    shares = [row["mfu"] for row in rows if "mfu" in row]
    if not (starts and shares):
        raise ConfigError(f"--run {folder}: no run whose steps say their MFU")
    run = json.loads((folder / "run.json").read_text("utf-8"))
    repeated = 4 / 3 if run["config"]["parallel"]["recompute"] else 1.0
    useful: float = statistics.median(shares) * starts[-1]["peak_tflops"] / starts[-1]["ranks"]
    return useful * repeated


def _model(args: argparse.Namespace, config: TrainConfig | None) -> Model:
    if config is None:
        return Model(int(args.parameters))
    return Model.of(shape_of(config.model, args.vocab_size or _vocabulary(args.data)))


def shape_of(model: ModelSection, vocab: int) -> Shape:
    """The shape that a config describes, with a vocabulary of this size."""
    return Shape(
        hidden=model.hidden_size,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.kv_heads,
        inner=model.intermediate_size,
        vocab=vocab,
        gated=model.architecture != "starcoder2",
        tied=model.tie_embeddings,
    )


def _vocabulary(data: Path | None) -> int:
    if data is None:
        return ASSUMED_VOCABULARY
    from training.data.shards import read_manifest

    return int(read_manifest(data)["vocab_size"])


def _tokens(config: TrainConfig | None) -> int:
    assert config is not None
    return config.schedule.steps * config.data.batch_rows * config.data.context


def work_of(config: TrainConfig | None) -> Work:
    """What one GPU computes at a time in a run of this config."""
    if config is None:
        return Work(micro_rows=1, context=0)
    # fp8 is how products are computed; what is kept is bf16.
    kept: Literal["bf16", "fp32"] = "fp32" if config.run.precision == "fp32" else "bf16"
    data = config.data
    return Work(data.micro_rows, data.context, kept, config.optimizer.name, data.batch_rows)


def _lines(
    plan: Plan, rate: _Rate, cluster: Cluster, work: Work, *, recompute: bool
) -> Iterator[str]:
    """The plan as text."""
    share = rate.tflops / rate.peak_tflops
    yield f"model       {plan.parameters:,} parameters"
    yield (
        f"work        {plan.flops:.3g} FLOPs: {plan.tokens:,} tokens x {plan.flops_per_token:.3g}"
        + (", a third more to recompute" if recompute else "")
        + ("" if work.context else "; attention is left out, its shape is unknown")
    )
    yield (
        f"rate        {cluster.gpus:,} x {rate.device} at {rate.tflops:,.4g} TFLOP/s "
        f"({share:.0%} of {rate.peak_tflops:,g}, {rate.known})"
    )
    cost = "" if plan.dollars is None else f", {plan.dollars:,.0f} dollars"
    yield f"time        {_time(plan.seconds)}, {plan.gpu_hours:,.1f} GPU hours{cost}"
    saved = plan.checkpoints
    yield f"checkpoint  {saved.size_bytes / 1e9:,.2f} GB, {_time(saved.write_s)} to write"
    yield f"failures    one in {_time(saved.failure_every_s)}: {saved.failures:.2g} in the run"
    yield (
        f"save every  {_time(saved.daly_s)} (Daly; Young: {_time(saved.young_s)}): writing, lost "
        f"work and restarts cost {saved.lost_share:.2%}"
    )
    yield from _table(plan, rate, work, cluster.gpus)


def _table(plan: Plan, rate: _Rate, work: Work, gpus: int) -> Iterator[str]:
    yield ""
    if not plan.fits:
        yield (
            f"memory      {plan.states_bytes / 1e9:,.1f} GB of weights, gradients and optimizer, "
            f"{plan.states_bytes / 1e9 / gpus:,.1f} a GPU if sharded over all; activations are "
            "unknown without the model's shape, give --config"
        )
        return
    yield (
        f"GB on the fullest GPU, of {rate.memory_gb:g} with {KEPT_FREE:.0%} kept free; micro-batch "
        f"{work.micro_rows} x {work.context:,}, {work.precision}, {work.optimizer}"
    )
    yield (
        f"{'strategy':<16} {'weights':>8} {'gradients':>9} {'optimizer':>9} {'working':>8} "
        f"{'activations':>11} {'total':>9} {'fits':>4}  {'recomputed':>10} {'fits':>4} "
        f"{'bubble':>7}"
    )
    for fit in plan.fits:
        part = fit.memory
        sizes = [
            f"{value / 1e9:>{width},.2f}"
            for value, width in (
                (part.weights, 8), (part.gradients, 9), (part.optimizer, 9), (part.working, 8),
                (part.activations, 11), (part.total(recompute=False), 9),
            )
        ]  # fmt: skip
        yield (
            f"{fit.spread.name:<16} {' '.join(sizes)} {_yes(fit.fits):>4}  "
            f"{part.total(recompute=True) / 1e9:>10,.2f} {_yes(fit.fits_recomputed):>4} "
            f"{_bubble(fit):>7}"
        )
    yield from _about_bubbles(plan)


def _bubble(fit: Fit) -> str:
    return "-" if fit.bubble is None else f"{fit.bubble:.1%}"


def _about_bubbles(plan: Plan) -> Iterator[str]:
    """What the last column says, where there is a pipeline."""
    pipelines = [fit for fit in plan.fits if fit.spread.pipeline > 1]
    if pipelines:
        yield (
            "bubble: the share of a step in which a rank of a pipeline waits (1F1B); -: there are "
            "fewer micro-batches than stages"
        )
    for fit in pipelines:
        if fit.bubble_interleaved is not None:
            name = fit.spread.name
            yield f"interleaved, two stages on a rank: {name} waits {fit.bubble_interleaved:.1%}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _time(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.2g} s"
