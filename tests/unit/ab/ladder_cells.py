"""What invented developers did while a candidate stood on a rung."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ab.assignment import assign
from ab.flags import Flag
from ab.rollup import LATENCY_MS, Cell, Counts

NOW = datetime(2026, 11, 21, 15, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


@dataclass(frozen=True)
class Team:
    """users: each with a rate of their own. lift: of the candidate's acceptance, relative."""

    users: int = 300
    lift: float = 0.0
    slowdown: float = 1.0
    failing: float = 0.0
    seed: int = 1

    def cells(
        self, flag: Flag, since: date, days: int, before: int = 14
    ) -> list[tuple[Cell, Counts]]:
        chance = random.Random(self.seed)
        found = []
        for number in range(self.users):
            user, rate, volume = f"u{number}", chance.betavariate(4, 8), chance.randint(20, 60)
            for day in range(-before, days):
                told = assign(flag, {"targetingKey": user}).variant if day >= 0 else "old"
                mark = "!" if user in flag.overrides and day >= 0 else ""
                new = told == "new"
                cell = Cell((since + timedelta(days=day)).isoformat(), user, told, "go", "native",
                            f"{mark}model={told}")  # fmt: skip
                found.append((cell, self._day(chance, rate * (1 + self.lift * new), volume, new)))
        return found

    def _day(self, chance: random.Random, rate: float, volume: int, new: bool) -> Counts:
        spread = math.sqrt(volume * rate * (1 - rate))
        accepted = min(volume, max(0, round(chance.gauss(volume * rate, spread))))
        buckets: dict[str, int] = {}
        for place in range(volume):
            ms = (60 + 80 * place / volume) * (self.slowdown if new else 1.0)
            limit = next((limit for limit in LATENCY_MS if ms <= limit), None)
            if limit is not None:
                buckets[f"within_{limit}"] = buckets.get(f"within_{limit}", 0) + 1
        failed = sum(chance.random() < self.failing for _ in range(volume)) if new else 0
        return Counts(
            requested=volume, shown=volume, accepted=accepted, timed=volume, failed=failed,
            known_600=accepted, kept_600=accepted * chance.randint(600, 900), **buckets,
        )  # fmt: skip


def days_ago(days: float) -> float:
    return NOW - days * DAY_S


def day_of(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
