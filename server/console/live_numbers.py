"""What the page "Live" is drawn from: our own counters, added up over what it does not tell apart.

Counters only grow, so the page takes differences between two looks. Nothing of a request is in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import anyio.to_thread
from prometheus_client.samples import Sample

from server.metrics import Metrics

# By name: the label that is told apart, none where there is nothing to tell.
_COUNTERS = {
    "tabwright_requests_total": "outcome",
    "tabwright_cancels_total": "reason",
    "tabwright_wasted_tokens_total": "reason",
    "tabwright_generated_tokens_total": "",
    "tabwright_suggestions_total": "source",
    "tabwright_editor_events_total": "kind",
    "tabwright_time_to_first_token_seconds_bucket": "le",
    "tabwright_request_seconds_bucket": "le",
    "tabwright_admitted": "",
    "tabwright_in_line": "",
    "tabwright_engine_running": "",
}


async def live_numbers(metrics: Metrics) -> Mapping[str, Any]:
    """Count up what the page shows, by name and label."""
    if metrics.shared:
        metrics.refresh()
        return await anyio.to_thread.run_sync(lambda: _added(metrics.samples(list(_COUNTERS))))
    return _added(metrics.samples(list(_COUNTERS)))


def _added(samples: Iterable[Sample]) -> dict[str, Any]:
    found: dict[str, Counter[str]] = {name: Counter() for name in _COUNTERS}
    for sample in samples:
        label = _COUNTERS[sample.name]
        found[sample.name][sample.labels[label] if label else ""] += sample.value  # type: ignore[assignment]
    told = {name: row if _COUNTERS[name] else row[""] for name, row in found.items()}
    return {"at": time.time(), **told}
