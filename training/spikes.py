"""Loss spikes: noticed before the parameters move, by all ranks together, and answered by policy.

A step is a spike when its loss or its gradients are not finite, or when one of them lies more than
so many deviations above the median of the last steps as `[spikes]` says (by the median absolute
deviation; of the norm of the gradients the logarithm counts). The verdict is the maximum over the
ranks, so none of them goes on alone. Then every row of the step is scored again with the parameters
as they were: rows that stand out are named with their samples, and a spike that does not come again
was no matter of data but of a machine. `spikes.jsonl` in the run's folder has it all. Read
`SpikeGuard.accepts`.

What the guard knows it reads back from the run's files, so a resumed run decides as it would have.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from tabwright.errors import RunStopped
from training.config import SpikesSection
from training.records import SPIKES, finite, read_lines
from training.step import Measured

logger = logging.getLogger(__name__)
_TO_SIGMA = 1.4826  # a normal distribution's deviation over its median absolute one
# Deviations below these are taken for accidents: of the loss a share, of the norm's logarithm.
_LEAST_SHARE, _LEAST_LOG = 0.02, 0.1


class RowLoss(NamedTuple):
    """What one row of a step costs, with the ids of its samples."""

    number: int
    loss: float
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spike:
    """One line of the log. again: scoring anew showed the spike too. back_to: of a rollback."""

    step: int
    why: str
    loss: float
    grad_norm: float
    policy: str
    again: bool
    rows: tuple[int, ...]
    row_losses: tuple[float, ...]
    samples: tuple[dict[str, str], ...]
    rate: float


class Detector:
    """Remembers the last good steps. Knows numbers only."""

    def __init__(self, section: SpikesSection) -> None:
        """Start without a memory; z-scores count once `least` steps are known."""
        self._section = section
        self._losses: deque[float] = deque(maxlen=section.window)
        self._norms: deque[float] = deque(maxlen=section.window)

    def why(self, loss: float, grad_norm: float) -> str | None:
        """What is wrong with a step, None if nothing is."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return f"loss {loss:g}, gradient norm {grad_norm:g}: not finite"
        if len(self._losses) < self._section.least:
            return None
        if (score := self._loss_score(loss)) > self._section.loss_z:
            return f"loss {score:.1f} deviations above the median of {len(self._losses)} steps"
        if (score := _score(_log(grad_norm), self._norms, _LEAST_LOG)) > self._section.grad_norm_z:
            return f"gradient norm {score:.1f} deviations above the median"
        return None

    def unusual(self, loss: float) -> bool:
        """Whether the loss alone makes a spike."""
        known = len(self._losses) >= self._section.least
        return known and self._loss_score(loss) > self._section.loss_z

    def learn(self, loss: float, grad_norm: float) -> None:
        """Remember a good step."""
        self._losses.append(loss)
        self._norms.append(_log(grad_norm))

    def usual_loss(self) -> float:
        """Median loss of the remembered steps, 0 before the first."""
        return statistics.median(self._losses) if self._losses else 0.0

    def _loss_score(self, loss: float) -> float:
        return _score(loss, self._losses, max(_LEAST_SHARE * self.usual_loss(), 1e-9))


class SpikeGuard:
    """Stands between gradients and update. `back_to`: the step that a rollback asks for."""

    def __init__(
        self,
        section: SpikesSection,
        log: Path | None,
        *,
        anywhere: Callable[[bool], bool],
        gather: Callable[[Sequence[RowLoss]], list[RowLoss]],
        score_rows: Callable[[], Sequence[RowLoss]],
        lineage: Callable[[Iterable[str]], list[dict[str, str]]],
    ) -> None:
        """Set up one rank's guard; `log` is None on ranks that do not write.

        anywhere: whether the flag is set on any rank. gather: all ranks' rows. score_rows: this
        rank's rows of the step at hand. lineage: where samples come from.
        """
        self._section, self._log = section, log
        self._anywhere, self._gather = anywhere, gather
        self._score_rows, self._lineage = score_rows, lineage
        self._detector = Detector(section)
        self._steps: list[int] = []
        self.rate = 1.0
        self.silenced: set[str] = set()
        self.back_to: int | None = None
        self.spike: str | None = None

    def recall(self, metrics: Path, log: Path, step: int) -> None:
        """Know what the run's files tell of the steps up to `step`."""
        rows = {row["step"]: row for row in read_lines(metrics) if row["step"] <= step}
        for row in list(rows.values())[-self._section.window :]:
            if "spike" not in row:
                self._detector.learn(row["loss"], row["grad_norm"])
        for line in read_lines(log):
            self._remember(line["step"], line["policy"], line["rate"], line["samples"])

    def accepts(self, measured: Measured) -> bool:
        """Whether the parameters may move.

        Raises:
            RunStopped: the policy is to stop, or there were too many spikes.
        """
        self.back_to, self.spike = None, None
        why = self._detector.why(measured.loss, measured.grad_norm)
        if not self._anywhere(why is not None):
            self._detector.learn(measured.loss, measured.grad_norm)
            return True
        self._answer(measured, why or "seen by another rank")
        return False

    def _answer(self, measured: Measured, why: str) -> None:
        section, step = self._section, measured.step
        rows = sorted(self._gather(self._score_rows()))
        again, named = self._stand_out(rows, why)
        if step in self._steps and not named:  # it came back, and no row is to blame: all are
            named = rows
        rate = self.rate * (section.rate_factor if section.policy == "lower_rate" else 1)
        samples = self._lineage(name for row in named for name in row.samples)
        self.spike = why
        spike = Spike(
            step, why, measured.loss, measured.grad_norm, section.policy, again,
            tuple(row.number for row in named), tuple(row.loss for row in named),
            tuple(samples), rate,
        )  # fmt: skip
        self._write(spike)
        self._remember(step, section.policy, rate, samples)
        recent = sum(step - section.window < old <= step for old in self._steps)
        if section.policy == "stop" or recent > section.most:
            raise RunStopped(
                f"step {step}: {why}; {recent} spikes in {section.window} steps, see {SPIKES}; "
                "resume with another [spikes] policy, or drop the samples that it names"
            )
        if section.policy == "rollback":
            self.back_to = max(0, step - section.rollback_steps)

    def _stand_out(self, rows: Sequence[RowLoss], why: str) -> tuple[bool, list[RowLoss]]:
        """Whether the spike shows again, and the rows that make it."""
        bad = [row for row in rows if not math.isfinite(row.loss)]
        if bad:
            return True, bad
        losses = [row.loss for row in rows]
        usual = self._detector.usual_loss()
        mean = statistics.fmean(losses)
        again = why.startswith("gradient") or self._detector.unusual(mean)
        if not again:
            return False, []
        # The rows that carry the excess: those more than half as far off as the worst one.
        border = usual + (max(losses) - usual) / 2
        return True, [row for row in rows if row.loss > border]

    def _remember(
        self, step: int, policy: str, rate: float, samples: Iterable[dict[str, str]]
    ) -> None:
        self._steps.append(step)
        self.rate = rate
        if policy == "rollback":
            self.silenced.update(sample["sample"] for sample in samples)

    def _write(self, spike: Spike) -> None:
        if self._log is None:
            return
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite(asdict(spike))) + "\n")
        logger.warning("step %d: %s; policy %s, rows %s, see %s", spike.step, spike.why,
                       spike.policy, list(spike.rows), SPIKES)  # fmt: skip


def _log(value: float) -> float:
    return math.log(max(value, 1e-12))


def _score(value: float, known: Sequence[float], least: float) -> float:
    """Deviations above the median, none of which is taken for less than `least`."""
    middle = statistics.median(known)
    spread = _TO_SIGMA * statistics.median(abs(other - middle) for other in known)
    return (value - middle) / max(spread, least)
