"""Percentiles of latency from counts by limit, as roll-ups keep them. Read `quantile`."""

from __future__ import annotations

from ab.rollup import LATENCY_MS, Counts


def quantile(counts: Counts, share: float) -> float | None:
    """Milliseconds within which `share` of the timed requests were; None: more than is counted.

    Between two limits they are taken as evenly spread.
    """
    wanted, sofar, lower = share * counts.timed, 0, 0
    if not counts.timed:
        return None
    for limit in LATENCY_MS:
        here: int = getattr(counts, f"within_{limit}")
        if here and sofar + here >= wanted:
            return lower + (limit - lower) * (wanted - sofar) / here
        sofar, lower = sofar + here, limit
    return None


def slower(counts: Counts, limit_ms: int) -> int:
    """How many timed requests took longer than `limit_ms`, which is one of the limits."""
    within: int = sum(getattr(counts, f"within_{ms}") for ms in LATENCY_MS if ms <= limit_ms)
    return counts.timed - within


def limit_above(ms: float) -> int | None:
    """The smallest limit that is counted and not below `ms`."""
    return next((limit for limit in LATENCY_MS if limit >= ms), None)
