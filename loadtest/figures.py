"""What a load test adds up to: latencies, outcomes, waste, and the engine's own figures."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from loadtest.developer import Seen

WITHIN_MS = 200.0
# Sums over all labels, taken before and after; what moved is the load test's.
_COUNTERS = {
    "generated_tokens": "tabwright_generated_tokens_total",
    "wasted_tokens": "tabwright_wasted_tokens_total",
    "requests": "tabwright_requests_total",
    "cancels": "tabwright_cancels_total",
}


class Figures:
    """Collects what developers saw; may be told from several threads."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._seen: list[Seen] = []
        self._lock = threading.Lock()

    def add(self, seen: Seen) -> None:
        """Take note of one request."""
        with self._lock:
            self._seen.append(seen)

    def report(self, before: str = "", after: str = "") -> dict[str, Any]:
        """Sum up, with the server's `/metrics` before and after if there are any."""
        with self._lock:
            seen = list(self._seen)
        protocols = sorted({one.protocol for one in seen})
        report: dict[str, Any] = {"all": _summary(seen)}
        for protocol in protocols:
            report[protocol] = _summary([one for one in seen if one.protocol == protocol])
        report["server"] = _server(before, after)
        return report


def _summary(seen: Sequence[Seen]) -> dict[str, Any]:
    outcomes = Counter(one.outcome for one in seen)
    firsts = [one.first_ms for one in seen if one.first_ms is not None]
    shown = outcomes["accepted"] + outcomes["dismissed"] + outcomes["ignored"]
    return {
        "requests": len(seen),
        "outcomes": dict(sorted(outcomes.items())),
        "sources": dict(sorted(Counter(one.source for one in seen if one.source).items())),
        "errors": dict(sorted(Counter(one.error for one in seen if one.error).items())),
        "error_share": _share(outcomes["failed"], len(seen)),
        "abandoned_share": _share(outcomes["abandoned"], len(seen)),
        "acceptance": _share(outcomes["accepted"], shown),
        "characters_accepted": sum(one.chars for one in seen),
        "first_suggestion_ms": percentiles(firsts),
        "within_200_ms": _share(sum(ms <= WITHIN_MS for ms in firsts), len(firsts)),
    }


def percentiles(values: Sequence[float]) -> dict[str, float | int | None]:
    """Count, p50, p95, p99 and the largest; None where there is nothing."""
    ordered = sorted(values)
    shown: dict[str, float | int | None] = {"n": len(ordered)}
    for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        place = max(0, -(-int(share * 100) * len(ordered) // 100) - 1)
        shown[name] = round(ordered[place], 2) if ordered else None
    return shown


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _server(before: str, after: str) -> dict[str, Any]:
    moved = {
        name: _sum(after, counter) - _sum(before, counter) for name, counter in _COUNTERS.items()
    }
    generated, wasted = moved["generated_tokens"], moved["wasted_tokens"]
    return moved | {"wasted_share": round(wasted / generated, 4) if generated else None}


def _sum(exposition: str, counter: str) -> float:
    rows = re.findall(rf"^{counter}(?:{{[^}}]*}})? (\S+)$", exposition, re.MULTILINE)
    return sum(map(float, rows))
