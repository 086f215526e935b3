"""The requests that run together in one OpenVINO continuous-batching pipeline.

Lives in the worker process. Translates requests into OpenVINO's words and what it generates back;
knows nothing of sockets. OpenVINO needs care in four places: it wants some end token even where
there is none, counts the stop token to the answer, frees a cancelled request only in the next step,
and drops a request that does not fit without an error. What needs the logits themselves runs
beside the pipeline (`cpu_solo.py`). Read `Batch.step` first.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

from server.engines.cpu_messages import Add, Cancel, Piece, Start, StepReport, WorkerStats
from server.engines.cpu_solo import SoloModel, SoloRequest, device_properties
from server.engines.token_choice import GREEDY_BELOW

# OpenVINO computes these in single precision, where the smallest values become 0 or infinite.
_LEAST_TOP_P = 1e-6
_MOST_MIN_P = 0.999999  # it refuses 1; so near to it only equals of the likeliest are left
_NO_TOP_K = 2**31
_log = logging.getLogger(__name__)


def load_pipeline(start: Start) -> Any:
    """Load a converted model."""
    from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

    scheduler = SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.dynamic_split_fuse = True
    scheduler.max_num_batched_tokens = start.chunk_tokens
    scheduler.max_num_seqs = start.slots
    scheduler.num_kv_blocks = start.kv_blocks
    return ContinuousBatchingPipeline(start.ir_folder, scheduler, "CPU", device_properties(start))


class _Running:
    """A request inside the pipeline."""

    __slots__ = ("cancelled", "handle", "stop_ids")

    def __init__(self, handle: Any, stop_ids: frozenset[int]) -> None:
        self.handle = handle
        self.stop_ids = stop_ids
        self.cancelled = False


class Batch:
    """The requests that run together."""

    def __init__(self, pipeline: Any, model: SoloModel) -> None:
        """Start empty on a loaded pipeline, with the plain model for what that cannot do."""
        from openvino import Tensor
        from openvino_genai import GenerationConfig, GenerationFinishReason, GenerationStatus

        self._pipeline = pipeline
        self._model = model
        self._solo: dict[int, SoloRequest] = {}
        self._tensor = Tensor
        self._config = GenerationConfig
        self._in_progress = GenerationStatus.RUNNING
        self._finishes = {
            GenerationFinishReason.STOP: "stop",
            GenerationFinishReason.LENGTH: "length",
        }
        self._running: dict[int, _Running] = {}
        self._refused: list[int] = []
        self._closed: list[int] = []
        self._steps = 0
        self._step_s: deque[float] = deque(maxlen=2048)

    @property
    def busy(self) -> bool:
        """There is something to compute or to free."""
        return bool(self._running or self._solo or self._refused)

    def warm_up(self) -> None:
        """Answer a request of nobody's: OpenVINO arranges the weights when it first needs them."""
        self._add(Add(0, [0] * 40, 3, 0.0, 1.0, 0, 0, []))
        while self.busy:
            self.step()
        self._steps = 0
        self._step_s.clear()

    def obey(self, command: Add | Cancel) -> None:
        """Do what the gateway says."""
        if isinstance(command, Add):
            try:
                self._add(command)
            except (RuntimeError, TypeError, ValueError):
                # A value that OpenVINO refuses must not end the others' requests.
                _log.exception("request refused by OpenVINO")
                self._refused.append(command.request)
            return
        if self._solo.pop(command.request, None) is not None:
            self._closed.append(command.request)
        running = self._running.get(command.request)
        if running is not None and not running.cancelled:
            running.cancelled = True
            running.handle.cancel()
            self._closed.append(command.request)

    def take_closed(self) -> list[int]:
        """Requests cancelled since the last call; to be reported before the next step.

        The pipeline frees their blocks in that step, and whatever the gateway gives those blocks to
        is added after it, because commands are read between steps. So they may be called free now.
        """
        closed, self._closed = self._closed, []
        return closed

    def step(self) -> StepReport:
        """Compute one step and collect what it brought."""
        began = time.perf_counter()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        report = StepReport([], [], self._refused)
        self._refused = []
        self._advance_solo(report)
        self._steps += 1
        self._step_s.append(time.perf_counter() - began)
        for request, running in list(self._running.items()):
            self._collect(request, running, report)
        return report

    def _advance_solo(self, report: StepReport) -> None:
        """Compute a token for each that generates, and a chunk for one that reads its prompt."""
        reading = True
        for request, solo in list(self._solo.items()):
            if solo.reading and not reading:
                continue
            reading = reading and not solo.reading
            try:
                piece = solo.advance(alone=not self._running)
            except RuntimeError:
                # No memory for its keys and values, say: the others have theirs.
                _log.exception("a request that needs the logits failed")
                report.failed.append(request)
                del self._solo[request]
                continue
            if piece is not None:
                report.pieces.append(piece)
            if piece is not None and piece.finish:
                del self._solo[request]

    def _collect(self, request: int, running: _Running, report: StepReport) -> None:
        if running.cancelled:
            del self._running[request]  # its blocks were freed in the step that has just ended
            return
        ids: list[int] = []
        logprobs: list[float] = []
        finish = None
        if running.handle.can_read():
            for output in running.handle.read().values():
                ids += output.generated_ids
                logprobs += output.generated_log_probs
                finish = self._finishes.get(output.finish_reason)
        if finish is None and not ids:
            # Either its prompt is still being read, or it was dropped: OpenVINO calls that IGNORED.
            if running.handle.get_status() != self._in_progress:
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

        if add.needs_logits:
            self._solo[add.request] = self._model.begin(add)
            return
        config = self._config()
        config.max_new_tokens = add.max_tokens
        config.logprobs = 1
        config.repetition_penalty = add.repetition_penalty
        if add.stop_ids:
            config.stop_token_ids = set(add.stop_ids)
            config.set_eos_token_id(add.stop_ids[0])
        else:
            # The pipeline insists on some end token; it is then told to ignore it.
            config.set_eos_token_id(0)
            config.ignore_eos = True
        if add.temperature >= GREEDY_BELOW:
            config.do_sample = True
            config.temperature = add.temperature
            config.top_p = max(add.top_p, _LEAST_TOP_P)
            config.min_p = min(add.min_p, _MOST_MIN_P)
            config.rng_seed = add.seed
            if 0 < add.top_k < _NO_TOP_K:
                config.top_k = add.top_k
        prompt = self._tensor(np.array([add.prompt], dtype=np.int64))
        handle = self._pipeline.add_request(add.request, prompt, config)
        self._running[add.request] = _Running(handle, frozenset(add.stop_ids))

    def stats(self) -> WorkerStats:
        """Count and time."""
        times = sorted(self._step_s) or [0.0]
        return WorkerStats(
            steps=self._steps,
            step_ms_p50=times[len(times) // 2] * 1000,
            step_ms_p95=times[len(times) * 95 // 100] * 1000,
            active=len(self._running) + len(self._solo),
            peak_rss_mb=_peak_rss_mb(),
        )


def _peak_rss_mb() -> float:
    # Not getrusage: its peak begins with what the parent had when it forked.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024
