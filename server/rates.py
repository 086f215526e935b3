"""How often a key or a person may start a completion: token buckets on a clock that never jumps.

A bucket is one number, the time at which it will be full again, so thousands of them cost little.
A full bucket is the same as none, and is forgotten. Read `Rates.take` first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tabwright.errors import ConfigError, RateLimited

_MAX_BUCKETS = 20_000
_MAX_BURST = 1_000_000
_SWEEP = 4  # buckets that one request looks at; more than it can add
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` completions a second in the long run, up to `burst` of them at once.

    Raises:
        ConfigError: a value is out of its range.
    """

    per_s: float
    burst: int

    def __post_init__(self) -> None:
        if not 0 < self.per_s <= 1e6:
            raise ConfigError(f"rate: {self.per_s:g} a second; give a number above 0, up to 1e6")
        if not 1 <= self.burst <= _MAX_BURST:
            raise ConfigError(f"burst: {self.burst}; give 1 to {_MAX_BURST}")

    @classmethod
    def of(cls, per_s: float, burst: int | None = None) -> Rate:
        """Make one; without a burst it is one second's worth, at least one.

        Raises:
            ConfigError: a value is out of its range.
        """
        if burst is None:
            burst = max(1, round(per_s)) if 0 < per_s <= _MAX_BURST else 1
        return cls(per_s, burst)

    @classmethod
    def parse(cls, text: str, burst: int | None = None) -> Rate:
        """Read `10/s`, `200/m` or `1000/h`.

        Raises:
            ConfigError: it is none.
        """
        number, slash, unit = text.partition("/")
        try:
            per_s = float(number) / _UNITS[unit if slash else "s"]
        except (ValueError, KeyError):
            raise ConfigError(f"rate: {text!r}; write it like 10/s, 200/m or 1000/h") from None
        return cls.of(per_s, burst)


class Rates:
    """The buckets of everybody who asked lately."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_buckets: int = _MAX_BUCKETS
    ) -> None:
        """Start with every bucket full."""
        self._clock = clock
        self._max_buckets = max_buckets
        self._full_at: dict[str, float] = {}  # the one used last stands last

    def __len__(self) -> int:
        """Count the buckets that are not full."""
        return len(self._full_at)

    def take(self, limits: Mapping[str, Rate]) -> None:
        """Take one from every bucket of `limits`, or from none.

        Raises:
            RateLimited: one of them is empty; it says when there is enough in all of them.
        """
        now = self._clock()
        waits = {name: self._wait(name, rate, now) for name, rate in limits.items()}
        wait_s = max(waits.values(), default=0.0)
        if wait_s > 0:
            raise RateLimited(
                f"more completions than you may start; try again in {wait_s:.3g} s",
                retry_after_s=wait_s,
            )
        for name, rate in limits.items():
            full_at = max(self._full_at.pop(name, now), now)
            self._full_at[name] = full_at + 1 / rate.per_s
        self._sweep(now)

    def give_back(self, limits: Mapping[str, Rate]) -> None:
        """Undo one `take`."""
        for name, rate in limits.items():
            if name in self._full_at:
                self._full_at[name] -= 1 / rate.per_s

    def _wait(self, name: str, rate: Rate, now: float) -> float:
        missing = max(self._full_at.get(name, now) - now, 0.0) * rate.per_s
        # A millionth of a completion forgives the rounding of the sums.
        short = missing + 1 - rate.burst
        return short / rate.per_s if short > 1e-6 else 0.0

    def _sweep(self, now: float) -> None:
        """Forget the buckets not used for longest that are full, or too many."""
        for _ in range(_SWEEP):
            oldest = next(iter(self._full_at), None)
            if oldest is None:
                return
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_buckets:
                return
            del self._full_at[oldest]
