"""A developer who types, pauses, reads suggestions, accepts, rejects and abandons.

Arrivals are open-loop: keys fall at the times of the trace whatever the server does, and latency is
taken from the moment a request was due, so a slow server is not spared. After the editor's debounce
a request goes out; a further key abandons it. A suggestion that arrives in time is read, and
accepted if it is what the developer was about to type; otherwise it is typed over, or dismissed.

Whether a suggestion is right is decided by the file the trace was cut from, not by a die.
"""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from loadtest.clients import Asked, Editor, Server, new_session
from loadtest.keystrokes import Trace

_READING_S = (0.45, 0.4)  # median and spread: from a suggestion on the screen to a decision
_DISMISS = 0.15  # share of wrong suggestions that are sent away with a key; others are typed over


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one request, told to the figures.

    first_ms: until there was something to show; None if there never was. outcome: accepted,
    dismissed, ignored, empty, abandoned or failed. chars: of the text that was inserted.
    """

    protocol: str
    outcome: str
    first_ms: float | None
    total_ms: float
    source: str
    chars: int
    error: str | None = None


class Developer:
    """One developer at one editor."""

    def __init__(
        self, server: Server, editor: Editor, tell: Callable[[Seen], None], seed: int
    ) -> None:
        """Tell `tell` of every request once its fate is known."""
        self._server = server
        self._editor = editor
        self._tell = tell
        self._chance = random.Random(seed)
        self._session = new_session()
        self._news = threading.Event()
        self._asked: Asked | None = None

    def type(self, trace: Trace, stop: Callable[[], bool]) -> None:
        """Type one trace to its end, or until `stop` says so."""
        ends = list(accumulate(len(key.text) for key in trace.keys))
        done, base = 0, time.perf_counter()
        while done < len(trace.text) and not stop():
            number = bisect_right(ends, done)  # the key that is next
            accepted = self._wait(base + trace.keys[number].at_s, trace, trace.text[:done])
            if accepted:
                done += accepted
                before = bisect_right(ends, done) - 1
                base = time.perf_counter() - (trace.keys[before].at_s if before >= 0 else 0.0)
            else:
                self._drop()
                done = ends[number]
        self._drop()

    def _wait(self, due: float, trace: Trace, typed: str) -> int:
        """Wait for the next key; ask after the debounce; return the characters accepted."""
        ask_at: float | None = time.perf_counter() + self._editor.debounce_s
        while (now := time.perf_counter()) < due:
            moments = [due]
            if ask_at is not None:
                if now >= ask_at:
                    self._ask(trace, typed, ask_at)
                    ask_at = None
                else:
                    moments.append(ask_at)
            asked = self._asked
            if asked is not None and asked.done_at is not None:
                decide_at = asked.done_at + asked.reading_s
                if not asked.text.strip():
                    self._drop()
                elif now < decide_at:
                    moments.append(decide_at)
                elif accepted := self._decide(asked, trace.text[len(typed) :]):
                    return accepted
            self._news.wait(max(0.0, min(moments) - time.perf_counter()))
            self._news.clear()
        return 0

    def _ask(self, trace: Trace, typed: str, due: float) -> None:
        reading_s = self._chance.lognormvariate(0, _READING_S[1]) * _READING_S[0]
        self._asked = asked = Asked(self._editor, due, reading_s, self._news)
        body = self._editor.body(trace.before + typed, trace.after, trace.path, self._session)
        threading.Thread(target=asked.run, args=(self._server, body), daemon=True).start()

    def _decide(self, asked: Asked, wanted: str) -> int:
        """Accept whole keys of a right suggestion; say how many characters."""
        text = asked.text.rstrip("\n")
        if text.strip() and wanted.startswith(text):
            self._report(asked, "accepted", len(text))
            self._event(asked, "select")
            self._asked = None
            return len(text)
        dismissed = self._chance.random() < _DISMISS
        self._report(asked, "dismissed" if dismissed else "ignored", 0)
        if dismissed:
            self._event(asked, "dismiss")
        self._asked = None
        return 0

    def _drop(self) -> None:
        """Give up what is running; what was on the screen has been typed over."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        if asked.done_at is None:
            asked.abandon()
            self._report(asked, "abandoned", 0)
        else:
            self._report(asked, "ignored" if asked.text.strip() else "empty", 0)

    def _report(self, asked: Asked, outcome: str, chars: int) -> None:
        now = time.perf_counter()
        first = None if asked.first_at is None else (asked.first_at - asked.sent_at) * 1000
        total = ((asked.done_at or now) - asked.sent_at) * 1000
        outcome = "failed" if asked.error else outcome
        name = self._editor.name
        self._tell(Seen(name, outcome, first, total, asked.source, chars, asked.error))

    def _event(self, asked: Asked, kind: str) -> None:
        """Report as the editor does, where it does."""
        if self._editor.name == "tabby" and asked.answer_id:
            body = {"type": kind, "completion_id": asked.answer_id, "choice_index": 0}
            threading.Thread(
                target=self._server.post, args=("/v1/events", body), daemon=True
            ).start()
