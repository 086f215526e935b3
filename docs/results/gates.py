"""Measure on invented developers how often gates promote, hold and roll back; print JSON.

`python docs/results/gates.py >docs/results/gates.json`; needs the extra `ab`, and two minutes of
one core for 1,000 runs of each row. GrowthBook's sequential method sees the same data: its
interval is equation 9 of Waudby-Smith et al. (arXiv 2103.06476v7) with rho by equation 161, tuned
to 5,000 users, as gbstats 0.8.0 has it; a test holds this to a number that gbstats computed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ab.acceptance import Weighting
from ab.gates import Gates, Metric, load_gates
from ab.many import Differences
from ab.simulation import Plan, looks, simulate

_TUNED_TO = 5_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    args = parser.parse_args()
    began, gates = time.process_time(), load_gates()
    plan = Plan(before=14, runs=args.runs)
    by_rates = gates.model_copy(update={"weighting": Weighting.USERS})
    rows: dict[str, Any] = {}
    for name, one, rules in (
        ("equal", replace(plan, seed=11), gates),
        ("equal, without days before", replace(plan, seed=12, before=0), gates),
        ("equal, 50 users an arm", replace(plan, seed=13, users=50), gates),
        ("10 % better", replace(plan, seed=14, effect=0.1), gates),
        ("10 % worse", replace(plan, seed=15, effect=-0.1), gates),
        ("10 % better, 100 users an arm", replace(plan, seed=16, effect=0.1, users=100), gates),
        ("5 % worse, at the margin", replace(plan, seed=17, effect=-0.05),
         _with(gates, "acceptance", 0.05)),
        ("equal, with that margin", replace(plan, seed=18), _with(gates, "acceptance", 0.05)),
        ("equal, by mean of rates", replace(plan, seed=11), by_rates),
        ("10 % better, by mean of rates", replace(plan, seed=14, effect=0.1), by_rates),
    ):  # fmt: skip
        rows[name] = {"plan": asdict(one), "gates": _rules(rules)}
        rows[name] |= asdict(simulate(one, rules)) | {"growthbook": _growthbook(one)}
        print(name, file=sys.stderr)
    told = {"load_average": os.getloadavg()[0], "cpu_s": round(time.process_time() - began, 1)}
    print(json.dumps(told | {"rows": rows}, indent=2))


def _rules(gates: Gates) -> dict[str, Any]:
    margins = {name: rule.margin for name, rule in gates.metrics.items()}
    return {"weighting": gates.weighting, "margins": margins}


def width(variance: float, users: int, alpha: float) -> float:
    """Half of GrowthBook's sequential interval."""
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / _TUNED_TO
    inside = 2 * (users * rho2 + 1) * math.log(math.sqrt(users * rho2 + 1) / alpha)
    return math.sqrt(variance * users * inside / (users**2 * rho2))


def _growthbook(plan: Plan) -> Mapping[str, Any]:
    """What it says first of the mean of users' rates with CUPED, and of the ratio of sums."""
    firsts: dict[str, list[tuple[int, bool] | None]] = {"users": [], "sums": []}
    for block in looks(plan):
        for name, found in firsts.items():
            size = len(block[0].pooled)
            new: list[tuple[int, bool] | None] = [None] * size
            for look in reversed(block):
                differences: Differences = getattr(look, name)
                for run in range(size):
                    difference = float(differences.difference[run])
                    variance = float(differences.variance[run])
                    if not math.isfinite(variance):
                        continue
                    if abs(difference) > width(variance, 2 * plan.users, plan.alpha):
                        new[run] = (look.day, difference > 0)
            found += new
    return {name: _told(found) for name, found in firsts.items()}


def _told(firsts: list[tuple[int, bool] | None]) -> Mapping[str, float | None]:
    decided = [first for first in firsts if first]
    return {
        "better": sum(better for _, better in decided) / len(firsts),
        "worse": sum(not better for _, better in decided) / len(firsts),
        "days": median(day for day, _ in decided) if decided else None,
    }


def _with(gates: Gates, name: str, margin: float) -> Gates:
    metrics = {**gates.metrics, name: Metric(margin=margin, optional=gates.metrics[name].optional)}
    return gates.model_copy(update={"metrics": metrics})


if __name__ == "__main__":
    main()
