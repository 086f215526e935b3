"""The process that owns the model: `python -m server.engines.cpu_worker FD`.

It reads commands from the socket FD, steps OpenVINO's continuous-batching pipeline while there is
work, and reports once a step. One thread: `step()` holds the interpreter lock anyway. Idle, it
sleeps in `recv`; busy, it looks for commands between two steps. When its parent is gone the socket
says so and it exits. What a request may ask for has been checked in `cpu.py`; whether the pool has
room is counted there too. Read `serve` first.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from server.engines.cpu_messages import (
    Add,
    AskStats,
    Cancel,
    Inbox,
    Message,
    Piece,
    Ready,
    Shutdown,
    Start,
    StartFailed,
    StepReport,
    WorkerStats,
    encode,
)
from server.engines.cpu_settings import Precision, WeightFormat
from server.engines.ir import ensure_ir
from tabwright.errors import ConfigError, CorruptArtifact

_log = logging.getLogger(__name__)
_READ_BYTES = 1 << 18


class Parent:
    """The gateway's end of the socket, seen from here."""

    def __init__(self, end: socket.socket) -> None:
        """Take over the socket."""
        self._end = end
        self._inbox = Inbox()
        self.gone = False

    def commands(self, *, wait: bool) -> list[Message]:
        """What has come; with `wait`, sleep until something does. Empty when the parent is gone."""
        try:
            data = self._end.recv(_READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        self.gone = not data
        return self._inbox.feed(data)

    def send(self, message: Message) -> None:
        """Say something; a parent that is gone is noticed when listening."""
        try:
            self._end.sendall(encode(message))
        except ConnectionError:
            self.gone = True


def serve(parent: Parent) -> None:
    """Load what the first command says, then run until the parent leaves."""
    commands: list[Message] = []
    while not commands:
        commands = parent.commands(wait=True)
        if parent.gone:
            return
    start = commands.pop(0)
    assert isinstance(start, Start), "the first message is Start"
    batch = _load(parent, start)
    if batch is None:
        return
    while True:
        for command in commands:
            if isinstance(command, Shutdown):
                return
            batch.obey(command, parent)
        if batch.busy:
            parent.send(batch.step())
        commands = parent.commands(wait=not batch.busy)
        if parent.gone:
            return


def _load(parent: Parent, start: Start) -> Batch | None:
    try:
        convert_s = ensure_ir(
            Path(start.checkpoint), Path(start.ir_folder), WeightFormat(start.weights)
        )
        began = time.perf_counter()
        try:
            pipeline = _pipeline(start)
        except RuntimeError:
            # A damaged cache must not outlive its discovery.
            _log.warning("converted model cannot be loaded, converting again")
            shutil.rmtree(start.ir_folder, ignore_errors=True)
            ensure_ir(Path(start.checkpoint), Path(start.ir_folder), WeightFormat(start.weights))
            pipeline = _pipeline(start)
    except ConfigError as error:
        parent.send(StartFailed("config", str(error)))
    except CorruptArtifact as error:
        parent.send(StartFailed("corrupt", str(error)))
    except ModuleNotFoundError as error:
        parent.send(StartFailed("missing", str(error.name)))
    except (RuntimeError, OSError) as error:
        parent.send(StartFailed("broken", f"{type(error).__name__}: {error}"))
    else:
        kv_cache_mb = pipeline.get_metrics().kv_cache_size_in_bytes / 2**20
        parent.send(Ready(convert_s, time.perf_counter() - began, kv_cache_mb))
        return Batch(pipeline)
    return None


def _pipeline(start: Start) -> Any:
    from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

    scheduler = SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.dynamic_split_fuse = True
    scheduler.max_num_batched_tokens = start.chunk_tokens
    scheduler.max_num_seqs = start.slots
    scheduler.num_kv_blocks = start.kv_blocks
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if start.threads:
        properties["INFERENCE_NUM_THREADS"] = start.threads
    if Precision(start.precision) is Precision.F32:
        properties |= {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    return ContinuousBatchingPipeline(start.ir_folder, scheduler, "CPU", properties)


class _Running:
    """A request inside the pipeline."""

    __slots__ = ("cancelled", "handle", "stop_ids")

    def __init__(self, handle: Any, stop_ids: frozenset[int]) -> None:
        self.handle = handle
        self.stop_ids = stop_ids
        self.cancelled = False


class Batch:
    """The requests that run together."""

    def __init__(self, pipeline: Any) -> None:
        """Start empty on a loaded pipeline."""
        from openvino import Tensor
        from openvino_genai import GenerationConfig, GenerationFinishReason, GenerationStatus

        self._pipeline = pipeline
        self._tensor = Tensor
        self._config = GenerationConfig
        self._ignored = GenerationStatus.IGNORED
        self._finishes = {
            GenerationFinishReason.STOP: "stop",
            GenerationFinishReason.LENGTH: "length",
        }
        self._running: dict[int, _Running] = {}
        self._steps = 0
        self._step_s: deque[float] = deque(maxlen=2048)

    @property
    def busy(self) -> bool:
        """There is something to compute or to free."""
        return bool(self._running)

    def obey(self, command: Message, parent: Parent) -> None:
        """Do what the gateway says."""
        if isinstance(command, Add):
            self._add(command)
        elif isinstance(command, Cancel):
            running = self._running.get(command.request)
            if running is not None and not running.cancelled:
                running.cancelled = True
                running.handle.cancel()
        elif isinstance(command, AskStats):
            parent.send(self._stats())

    def step(self) -> StepReport:
        """Compute one step and collect what it brought."""
        began = time.perf_counter()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        self._steps += 1
        self._step_s.append(time.perf_counter() - began)
        report = StepReport([], [], [])
        for request, running in list(self._running.items()):
            self._collect(request, running, report)
        return report

    def _collect(self, request: int, running: _Running, report: StepReport) -> None:
        if running.cancelled:
            # The pipeline freed its blocks in the step that has just ended.
            report.closed.append(request)
            del self._running[request]
            return
        if not running.handle.can_read():
            return
        ids: list[int] = []
        logprobs: list[float] = []
        finish = None
        for output in running.handle.read().values():
            ids += output.generated_ids
            logprobs += output.generated_log_probs
            finish = self._finishes.get(output.finish_reason)
        if finish is None and not ids:
            if running.handle.get_status() == self._ignored:
                report.failed.append(request)
                del self._running[request]
            return
        if ids and ids[-1] in running.stop_ids:
            ids.pop()
            logprobs.pop()
        # A probability of almost one may round to a logarithm just above zero.
        report.pieces.append(Piece(request, ids, [min(p, 0.0) for p in logprobs], finish))
        if finish is not None:
            del self._running[request]

    def _add(self, add: Add) -> None:
        import numpy as np

        config = self._config()
        config.max_new_tokens = add.max_tokens
        config.logprobs = 1
        if add.stop_ids:
            config.stop_token_ids = set(add.stop_ids)
            config.set_eos_token_id(add.stop_ids[0])
        else:
            # The pipeline insists on some end token; it is then told to ignore it.
            config.set_eos_token_id(0)
            config.ignore_eos = True
        if add.temperature > 0:
            config.do_sample = True
            config.temperature = add.temperature
            config.top_p = add.top_p
            config.rng_seed = add.seed
            if add.top_k:
                config.top_k = add.top_k
        prompt = self._tensor(np.array([add.prompt], dtype=np.int64))
        handle = self._pipeline.add_request(add.request, prompt, config)
        self._running[add.request] = _Running(handle, frozenset(add.stop_ids))

    def _stats(self) -> WorkerStats:
        times = sorted(self._step_s) or [0.0]
        return WorkerStats(
            steps=self._steps,
            step_ms_p50=times[len(times) // 2] * 1000,
            step_ms_p95=times[len(times) * 95 // 100] * 1000,
            active=len(self._running),
            peak_rss_mb=_peak_rss_mb(),
        )


def _peak_rss_mb() -> float:
    # Not getrusage: its peak begins with what the parent had when it forked.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run until told to stop; leave without destructors, which have nothing to save."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(True)
    os.dup2(2, 1)  # native libraries print; the gateway's output is not theirs
    serve(Parent(end))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
