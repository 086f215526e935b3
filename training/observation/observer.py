"""Everything that is noted about a run while it goes on. Read `Observer.step`.

`metrics.jsonl` always, a bar where a terminal looks on, other places if the config names them;
`samples.jsonl` at every checkpoint, and the run's card at its end. All of it is written by rank 0;
what asks the model is asked by every rank.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from training.metrics import metrics
from training.observation.answers import continuing
from training.observation.peak import peak_of
from training.observation.questions import Questions
from training.observation.starts import note_start
from training.observation.tracking import Tracker, numbers, trackers
from training.observation.usage import usage
from training.records import METRICS, SAMPLES, Row
from training.shape import FORMULA, flops_per_token

if TYPE_CHECKING:
    from training.run import Run


class Observer:
    """Notes steps, measures and samples of one run."""

    def __init__(self, run: Run, data: Path, out: Path, stack: ExitStack) -> None:
        """Open the files; every rank makes one, at the same point."""
        self._run, self._out = run, out
        self._first = dist.get_rank() == 0
        self._peak = peak_of(run.device, run.config.run.precision)
        self._flops = _flops(run)
        self._questions = Questions(data, run.config.tracking, run.fim, run.config.data.context)
        self._measured_at = run.step
        self._write = stack.enter_context(metrics(out / METRICS))
        self._trackers: list[Tracker] = []
        self._bar: Any = None
        self._shown: dict[str, str] = {}  # beside the bar
        if self._first:
            note_start(out, data, self._facts())
            self._trackers = stack.enter_context(trackers(run.config, out))
            self._bar = _bar(run, stack)

    def step(self, row: Row, seconds: float) -> None:
        """Note a step with the rates that follow from how long it took, measures left out."""
        run, config = self._run, self._run.config
        if run.guard.spike is not None:
            row["spike"] = run.guard.spike
        row["seconds"] = seconds
        row["tokens_per_s"] = row["tokens"] / seconds
        positions = config.data.batch_rows * config.data.context
        row["mfu"] = self._flops * positions / seconds / (self._peak.tflops * 1e12)
        row |= usage(run.device)
        self._write(row)
        for tracker in self._trackers:
            tracker.log(run.step, numbers(row))
        if self._bar is not None:
            self._bar.n = run.step
            if "held_out_loss" in row:
                self._shown["held_out"] = f"{row['held_out_loss']:.3f}"
            self._shown |= {"loss": f"{row['loss']:.3f}", "mfu": f"{row['mfu']:.1%}"}
            self._bar.set_postfix(self._shown)

    def measure(self) -> Row:
        """Ask the model what it knows by now; every rank must call."""
        run, questions = self._run, self._questions
        began = time.perf_counter()
        run.watchdog.does("measures")
        size = run.config.data.batch_rows
        row: Row = {"held_out_loss": run.held_out_loss()}
        row["held_out_by_language"] = questions.loss_by_language(run)
        if (share := questions.exact_match(run.model, continuing(run))) is not None:
            row["fim_exact_match"] = share
        row["mix"] = run.training.groups(range(self._measured_at * size, run.step * size))
        row["measure_seconds"] = time.perf_counter() - began
        self._measured_at = run.step
        return row

    def sample(self) -> None:
        """Let the model fill the fixed prompts; every rank must call."""
        self._run.watchdog.does("samples")
        answers = self._questions.samples(self._run.model, continuing(self._run))
        if self._first:
            with (self._out / SAMPLES).open("a", encoding="utf-8") as stream:
                for answer in answers:
                    told = {"step": self._run.step, **answer._asdict()}
                    stream.write(json.dumps(told) + "\n")

    def _facts(self) -> dict[str, Any]:
        run = self._run
        return {
            "step": run.step,
            "ranks": dist.get_world_size(),
            "device": run.device.type,
            "parameters": run.size,
            "flops_per_token": self._flops,
            "mfu_formula": FORMULA,
            "peak_tflops": self._peak.tflops,
            "peak_source": self._peak.source,
        }


@contextmanager
def observed(run: Run, data: Path, out: Path) -> Iterator[Observer]:
    """Note a run as long as the block lasts; the card is written however it ends."""
    from training.card.card import write_card

    try:
        with ExitStack() as stack:
            yield Observer(run, data, out, stack)
    finally:
        if dist.get_rank() == 0:
            write_card(out)


def _flops(run: Run) -> int:
    """FLOPs of a token, from the model itself: biases and norms included."""
    config = run.model.config
    table = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    context = run.config.data.context
    return flops_per_token(run.size - table, config.num_hidden_layers, heads * size, context)


def _bar(run: Run, stack: ExitStack) -> Any:
    """A bar on standard error, None where no terminal looks on."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    logging.getLogger(metrics.__module__).setLevel(logging.WARNING)  # the bar says as much
    stack.enter_context(logging_redirect_tqdm())
    # Some terminals do not tell their size, as in containers, and tqdm would show nothing there.
    known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    size: dict[str, Any] = {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}
    steps = run.config.schedule.steps
    return stack.enter_context(tqdm(total=steps, initial=run.step, unit="step", **size))
