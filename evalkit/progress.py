"""A progress line on stderr, and nothing where stderr is no terminal but a line at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from evalkit.problem import Outcome, Verdict

_EVERY_S = 0.2
_WIDTH = 24


class Progress:
    """Counts verdicts."""

    def __init__(self, title: str, total: int) -> None:
        """Expect `total` verdicts at most; a resumed run has fewer left."""
        self._title = title
        self._total = total
        self._outcomes: Counter[Outcome] = Counter()
        self._started = self._drawn = time.monotonic()
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw("\n")

    def seen(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self._outcomes[verdict.outcome] += 1
        now = time.monotonic()
        if self._live and now - self._drawn >= _EVERY_S:
            self._drawn = now
            self._draw("")

    def _draw(self, end: str) -> None:
        done = self._outcomes.total()
        filled = round(_WIDTH * done / self._total) if self._total else _WIDTH
        rate = done / max(1e-9, time.monotonic() - self._started)
        start = "\r" if self._live else ""
        passed, unjudged = self._outcomes[Outcome.PASSED], self._outcomes[Outcome.UNJUDGED]
        sys.stderr.write(
            f"{start}{self._title} [{'#' * filled:<{_WIDTH}}] {done}/{self._total} "
            f"{passed} passed, {unjudged} unjudged, {rate:.0f}/s{end}"
        )
        sys.stderr.flush()
