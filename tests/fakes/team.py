"""What an invented team did with two models for some days, as events in a store."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ab.assignment import assign
from ab.events import Event, Kind
from ab.flags import Flag
from ab.store import Store

LANGUAGES = ("python", "go", "typescript")
EDITORS = ("native", "tabby")


def work(
    store: Store, flag: Flag, *, users: int = 40, days: int = 14, lift: float = 0.5, shown: int = 6
) -> datetime:
    """Let `users` work for `days` up to yesterday; lift: of the new variant's acceptance, relative.

    Returns the first day.
    """
    chance = random.Random(5)
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=days)
    batch: list[Event] = []
    for number in range(users):
        user, rate = f"u{number}", chance.betavariate(4, 8)
        variant = assign(flag, {"targetingKey": user}).variant
        if variant == "new":
            rate = min(1.0, rate * (1 + lift))
        for day in range(days):
            at = (first + timedelta(days=day)).timestamp()
            for place in range(shown):
                name = f"{user}/{day}/{place}"
                batch += _suggestion(name, user, at, flag, variant, rate, chance)
    store.append(batch)
    return first


def _suggestion(
    name: str, user: str, at: float, flag: Flag, variant: str, rate: float, chance: random.Random
) -> Iterator[Event]:
    common: dict[str, Any] = {
        "suggestion": name,
        "user": user,
        "variant": str(flag.variants[variant]),
        "language": LANGUAGES[chance.randrange(len(LANGUAGES))],
        "editor": EDITORS[chance.randrange(len(EDITORS))],
        "arms": f"{flag.key}={variant}",
    }
    took = chance.uniform(40, 120)
    yield Event(f"{name}/r", Kind.REQUESTED, at, **common, source="engine", total_ms=took)
    yield Event(f"{name}/s", Kind.SHOWN, at, **common, shown_ms=900.0)
    if chance.random() < rate:
        chars = chance.randint(5, 60)
        yield Event(f"{name}/a", Kind.ACCEPTED, at, **common, chars=chars, part="full")
