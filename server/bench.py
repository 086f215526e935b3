"""`tabwright bench`: what the CPU engine does on this machine, next to what the memory allows.

Measures the engine alone, without HTTP: batch-1 decoding, time to the first token with a cold and a
cached prefix, eight requests at once, and how long an abandoned request holds its slot. Rounds are
interleaved and medians reported, because machines are rarely alone. Prompts are random ids: speed
does not depend on what they say. Read `measure` first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio

from server import memory_speed
from server.engines.cpu import CpuEngine
from server.engines.cpu_settings import CpuSettings, Precision, WeightFormat
from server.engines.line import State, Ticket
from server.engines.llama_shape import LlamaShape
from server.settings import BUNDLED_MODEL
from tabwright.artifact import ModelArtifact
from tabwright.cli import run_command
from tabwright.errors import ConfigError
from tabwright.request import SamplingParams

_LONG_PROMPT = 900
_ANSWER = 64
_CROWD = 8
_TYPED = 8  # tokens that differ between a cold prompt and its cached repetition
_BYTES = {WeightFormat.INT8: 1, WeightFormat.BF16: 2, WeightFormat.F32: 4}


@dataclass(slots=True)
class Series:
    """One quantity over the rounds."""

    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values) if self.values else float("nan")


@dataclass(slots=True)
class Report:
    """Everything that is printed."""

    model: str
    weights: str
    threads: int
    cores: int
    load_average: float
    memory: memory_speed.MemorySpeed
    weight_mb: float
    series: dict[str, Series] = field(default_factory=dict)

    def add(self, name: str, unit: str, value: float) -> None:
        """Note one value of one round."""
        self.series.setdefault(name, Series(unit)).values.append(value)

    @property
    def fits_in_cache(self) -> bool:
        """The weights stay in the last-level cache, so memory bandwidth is not what limits."""
        return self.weight_mb < 0.8 * self.memory.cache_mb

    @property
    def limit_tokens_s(self) -> float:
        """Tokens per second that reading the weights once a token would allow."""
        speed = self.memory.cache_gb_s if self.fits_in_cache else self.memory.memory_gb_s
        return speed * 1e9 / (self.weight_mb * 2**20)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse options, measure, print a table or JSON."""
    args = _parser().parse_args(argv)
    if not args.model.is_dir():
        raise ConfigError(f"--model: {args.model} is no folder")
    artifact = ModelArtifact.load(args.model)
    settings = CpuSettings(
        threads=args.threads,
        slots=2 * _CROWD,
        weights=WeightFormat(args.weights) if args.weights else None,
        precision=Precision(args.precision),
        chunk_tokens=args.chunk_tokens,
    )
    report = anyio.run(measure, artifact, settings, args.rounds)
    print(json.dumps(_as_json(report), indent=2) if args.json else _table(report))
    return 0


async def measure(artifact: ModelArtifact, settings: CpuSettings, rounds: int) -> Report:
    """Start the engine and run every measurement `rounds` times, in turn."""
    report = Report(
        model=artifact.name,
        weights=settings.weight_format,
        threads=settings.threads,
        cores=memory_speed.usable_cores(),
        load_average=os.getloadavg()[0],
        memory=memory_speed.measure(),
        weight_mb=weight_mb(artifact, settings.weight_format),
    )
    began = time.perf_counter()
    async with CpuEngine(artifact, settings) as engine:
        report.add("start", "s", time.perf_counter() - began)
        probe = _Probe(engine, report)
        await probe.generate(64, _ANSWER)  # the first steps of a process are slow
        for number in range(rounds):
            _progress(f"round {number + 1} of {rounds}")
            await probe.decode()
            for length in (256, min(_LONG_PROMPT, artifact.max_context - _ANSWER)):
                await probe.first_token(length)
            await probe.crowd()
            await probe.cancels()
        stats = await engine.worker_stats()
    report.add("step p95, all of the above", "ms", stats.step_ms_p95)
    report.add("peak memory of the worker", "MB", stats.peak_rss_mb)
    return report


def weight_mb(artifact: ModelArtifact, form: WeightFormat) -> float:
    """Megabytes of weights that one token reads: every matrix, an untied embedding excepted."""
    shape = LlamaShape.read(artifact.config)
    attention = shape.width * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    layer = attention + 3 * shape.width * shape.inner
    return (shape.layers * layer + shape.vocab * shape.width) * _BYTES[form] / 2**20


class _Probe:
    """The measurements of one round."""

    def __init__(self, engine: CpuEngine, report: Report) -> None:
        self.engine = engine
        self.report = report
        self.choose = random.Random(20)

    def prompt(self, length: int) -> list[int]:
        """Ids that no earlier prompt had."""
        return self.choose.choices(range(16, self.engine.artifact.tokenizer.vocab_size), k=length)

    async def generate(self, prompt: int | list[int], count: int) -> list[float]:
        """Generate and return when the stream began and when each token came."""
        ids = self.prompt(prompt) if isinstance(prompt, int) else prompt
        times = [time.perf_counter()]
        async with self.engine.stream(ids, SamplingParams(max_tokens=count)) as stream:
            async for tokens in stream:
                times += [time.perf_counter()] * len(tokens.ids)
        return times

    async def decode(self) -> None:
        times = await self.generate(64, 2 * _ANSWER)
        seconds = (times[-1] - times[1]) / (len(times) - 2)
        self.report.add("decode, 1 request", "tokens/s", 1 / seconds)
        self.report.add("one token, 1 request", "ms", seconds * 1000)

    async def first_token(self, length: int) -> None:
        prompt = self.prompt(length)
        for state in ("cold", "cached prefix"):
            times = await self.generate(prompt, 1)
            name = f"first token, {length}-token prompt, {state}"
            self.report.add(name, "ms", (times[1] - times[0]) * 1000)
            prompt = [*prompt[:-_TYPED], *self.prompt(_TYPED)]

    async def crowd(self) -> None:
        for length in (16, 256):
            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(_CROWD):
                    group.start_soon(self.generate, length, _ANSWER)
            rate = _CROWD * _ANSWER / (time.perf_counter() - began)
            self.report.add(f"{_CROWD} requests, {length}-token prompts", "tokens/s", rate)

    async def cancels(self) -> None:
        """Abandon requests while others run; the clock runs from leaving to the freed slot."""
        async with anyio.create_task_group() as group:
            for _ in range(_CROWD):
                group.start_soon(self._keep_busy)
            await anyio.sleep(0.1)
            for number in range(20):
                await self._cancel_one(before_first_token=number % 2 == 0)
            group.cancel_scope.cancel()
        await self._until(lambda: self.engine.stats().running == 0)

    async def _cancel_one(self, *, before_first_token: bool) -> None:
        prompt = self.prompt(256)
        async with self.engine.stream(prompt, SamplingParams(max_tokens=300)) as stream:
            if before_first_token:
                await anyio.sleep(self.choose.uniform(0, 0.005))
            else:
                await anext(aiter(stream))
        began = time.perf_counter()
        ticket = stream
        assert isinstance(ticket, Ticket)
        await self._until(lambda: ticket.state is State.LEFT)
        self.report.add("slot free after a cancel", "ms", (time.perf_counter() - began) * 1000)

    async def _keep_busy(self) -> None:
        while True:
            await self.generate(64, 300)

    async def _until(self, done: Callable[[], bool]) -> None:
        while True:
            if done():
                return
            await anyio.sleep(0.0002)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabwright bench",
        description="Measure the CPU engine on this machine against its memory bandwidth.",
        epilog="example: tabwright bench --rounds 7 --weights bf16 --json > bench.json",
    )
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="model folder")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all measurements")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves it to OpenVINO")
    parser.add_argument("--chunk-tokens", type=int, default=CpuSettings().chunk_tokens)
    parser.add_argument("--weights", choices=[str(form) for form in WeightFormat])
    parser.add_argument("--precision", choices=[str(p) for p in Precision], default="fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _as_json(report: Report) -> dict[str, Any]:
    return {
        **{k: v for k, v in asdict(report).items() if k not in ("series", "memory")},
        "memory": report.memory._asdict(),
        "limit_tokens_s": report.limit_tokens_s,
        "weights_fit_in_cache": report.fits_in_cache,
        "series": {
            name: {"unit": series.unit, "median": series.median, "values": series.values}
            for name, series in report.series.items()
        },
    }


def _table(report: Report) -> str:
    memory = report.memory
    lines = [
        f"model {report.model}, weights {report.weights} ({report.weight_mb:.1f} MB a token), "
        f"{report.cores} cores, load {report.load_average:.1f} at the start",
        f"memory reads at {memory.memory_gb_s:.1f} GB/s, the {memory.cache_mb:.0f} MB cache at "
        f"{memory.cache_gb_s:.1f} GB/s",
        "",
        f"{'':44}{'median':>10}{'best':>10}{'worst':>10}",
    ]
    for name, series in report.series.items():
        ordered = sorted(series.values, reverse=series.unit == "tokens/s")
        row = "".join(f"{value:>10.2f}" for value in (series.median, ordered[0], ordered[-1]))
        lines.append(f"{name:44}{row}  {series.unit}")
    cancels = sorted(report.series["slot free after a cancel"].values)
    lines.append(f"{'  95th percentile':44}{cancels[len(cancels) * 95 // 100]:>10.2f}{'':22}ms")
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: Report) -> str:
    rate = report.series["decode, 1 request"].median
    share = (
        f"{rate:.0f} of {report.limit_tokens_s:.0f} tokens/s ({rate / report.limit_tokens_s:.0%})"
    )
    if report.fits_in_cache:
        return (
            f"The weights fit in the cache: memory is not the limit. Decoding reaches {share} of "
            "what reading\nthem from the cache would allow; the rest is the fixed cost of a step."
        )
    return f"Decoding reaches {share} of what reading the weights from memory allows."


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command("tabwright bench", main))
