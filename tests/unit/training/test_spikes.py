"""Are spikes noticed, named and answered, and ordinary steps left alone?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tabwright.errors import RunStopped
from training.config import SpikesSection
from training.records import SPIKES as LOG
from training.spikes import Detector, RowLoss, SpikeGuard
from training.step import Measured

REAL = Path(__file__).parents[3] / "docs" / "results" / "training.jsonl"


def wave(step: int) -> float:
    return 2.0 + 0.1 * math.sin(step)


def guard(
    tmp_path: Path, rows: Sequence[RowLoss] = (), *, others: bool = False, **section: Any
) -> SpikeGuard:
    """One rank's guard with 30 good steps behind it; `others`: another rank saw a spike."""
    made = SpikeGuard(
        SpikesSection(**section),
        tmp_path / LOG,
        anywhere=lambda flag: flag or others,
        gather=list,
        score_rows=lambda: rows,
        lineage=lambda names: [{"sample": name, "path": f"src/{name}"} for name in names],
    )
    if not others:
        assert all(made.accepts(measured(step)) for step in range(1, 31))
    return made


def measured(step: int, loss: float | None = None, norm: float = 1.0) -> Measured:
    return Measured(step, wave(step) if loss is None else loss, norm, range(0))


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]


ROWS = (
    RowLoss(120, 1.9, ("a:0",)),
    RowLoss(121, 9.0, ("b:0", "c:400")),
    RowLoss(122, 2.2, ("d:0",)),
)


@pytest.mark.parametrize(
    ("loss", "norm", "told"),
    [
        (float("nan"), 1.0, "not finite"),
        (2.0, float("inf"), "not finite"),
        (4.4, 1.0, "loss"),
        (2.0, 40.0, "gradient norm"),
    ],
)
def test_a_spike_is_named_by_what_is_off(
    tmp_path: Path, loss: float, norm: float, told: str
) -> None:
    assert not guard(tmp_path, ROWS).accepts(measured(31, loss, norm))
    (line,) = logged(tmp_path)
    assert told in line["why"]
    assert line["rows"] == [121]
    assert [sample["path"] for sample in line["samples"]] == ["src/b:0", "src/c:400"]
    assert line["again"]


def test_good_steps_and_better_ones_pass(tmp_path: Path) -> None:
    one = guard(tmp_path, ROWS)
    assert one.accepts(measured(31, 0.01))
    assert one.accepts(measured(32, 2.1, 0.001))
    assert not (tmp_path / LOG).exists()


def test_a_rank_that_saw_nothing_follows_the_others(tmp_path: Path) -> None:
    assert not guard(tmp_path, ROWS, others=True).accepts(measured(1))


def test_nothing_is_compared_before_there_is_something_to_compare_with() -> None:
    detector = Detector(SpikesSection())
    for step in range(15):
        assert detector.why(wave(step), 1.0) is None
        detector.learn(wave(step), 1.0)
    assert detector.why(50.0, 1.0) is None
    assert detector.why(math.nan, 1.0)
    detector.learn(wave(15), 1.0)
    assert detector.why(50.0, 1.0)


def test_a_run_that_went_well_has_no_spike() -> None:
    """All 1,397 steps of the bundled model's run."""
    found, before = [], 0
    for line in REAL.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["step"] <= before or before == 0:
            detector = Detector(SpikesSection())
        before = row["step"]
        found.append(detector.why(row["loss"], row["grad_norm"]))
        detector.learn(row["loss"], row["grad_norm"])
    assert len(found) == 1397
    assert not any(found)


def test_a_spike_that_does_not_come_again_blames_no_sample(tmp_path: Path) -> None:
    usual = [RowLoss(120, 1.9, ("a:0",)), RowLoss(121, 2.2, ("b:0",))]
    one = guard(tmp_path, usual, policy="rollback", rollback_steps=10)
    assert not one.accepts(measured(31, math.nan))
    assert (logged(tmp_path)[0]["again"], logged(tmp_path)[0]["rows"]) == (False, [])
    assert one.back_to == 21
    assert not one.silenced
    assert not one.accepts(measured(31, math.nan))  # a second time: the batch is to blame
    assert one.silenced == {"a:0", "b:0"}


def test_rollback_silences_the_samples_and_says_how_far(tmp_path: Path) -> None:
    one = guard(tmp_path, ROWS, policy="rollback", rollback_steps=50)
    assert not one.accepts(measured(31, 9.0))
    assert one.back_to == 0
    assert one.silenced == {"b:0", "c:400"}
    assert one.accepts(measured(1))
    assert one.back_to is None


def test_skip_neither_goes_back_nor_silences(tmp_path: Path) -> None:
    one = guard(tmp_path, ROWS)
    assert not one.accepts(measured(31, 9.0))
    assert (one.back_to, one.silenced, one.rate) == (None, set(), 1.0)


def test_the_rate_is_lowered_for_good(tmp_path: Path) -> None:
    one = guard(tmp_path, ROWS, policy="lower_rate", rate_factor=0.5)
    for step in (31, 32):
        assert not one.accepts(measured(step, 9.0))
    assert one.rate == 0.25
    again = guard(tmp_path / "none", policy="lower_rate")
    again.recall(tmp_path / "metrics.jsonl", tmp_path / LOG, 32)
    assert again.rate == 0.25


def test_stop_stops_and_so_do_too_many(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="step 31"):
        guard(tmp_path, ROWS, policy="stop").accepts(measured(31, 9.0))
    many = guard(tmp_path, ROWS, most=2)
    assert not many.accepts(measured(31, 9.0))
    assert not many.accepts(measured(32, 9.0))
    with pytest.raises(RunStopped, match="3 spikes"):
        many.accepts(measured(33, 9.0))


def test_a_resumed_guard_decides_as_the_first_one(tmp_path: Path) -> None:
    one = guard(tmp_path, ROWS, policy="rollback")
    assert not one.accepts(measured(31, 9.0))
    rows: list[dict[str, Any]] = [
        {"step": n, "loss": wave(n), "grad_norm": 1.0} for n in range(1, 31)
    ]
    rows.append({"step": 31, "loss": 9.0, "grad_norm": 1.0, "spike": "loss"})
    rows.append({"step": 32, "loss": 50.0, "grad_norm": 1.0})  # after the checkpoint
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = guard(tmp_path / "none", policy="rollback", others=True)
    again.recall(metrics, tmp_path / LOG, 31)
    assert again.silenced == one.silenced
    fresh = Detector(SpikesSection())
    assert fresh.why(4.4, 1.0) is None
    for loss in (2.2, 2.6, 4.4):
        assert again._detector.why(loss, 1.0) == one._detector.why(loss, 1.0)
