"""Stop strings on text, with hold-back, whatever way the text is cut into pieces.

The answer ends where the first stop string is complete; of several that are complete at the same
character the longest counts. Text that may still become a stop string is held back. All stop
strings are searched at once (Aho-Corasick), so a list of sixty costs no more than a list of two.
Stop *tokens* are the engine's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache

from server.step import Scanned


class StopScanner:
    """Reads the text of one answer and cuts it at the first of `stops`."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Prepare for one answer; no stop may be empty."""
        self._machine = _machine(tuple(stops)) if stops else None
        self._state = 0
        self._held = ""

    def push(self, text: str) -> Scanned:
        """Take the next piece. After `stopped` nothing more may be pushed."""
        machine = self._machine
        if machine is None:
            return Scanned(text, False)
        buffer = self._held + text
        state = self._state
        for index in range(len(self._held), len(buffer)):
            state = machine.step(state, buffer[index])
            if length := machine.match[state]:
                self._held = ""
                return Scanned(buffer[: index + 1 - length], True)
        self._state = state
        certain = len(buffer) - machine.depth[state]
        self._held = buffer[certain:]
        return Scanned(buffer[:certain], False)

    def flush(self) -> str:
        """Return what was held back, once no more text will come."""
        held, self._held, self._state = self._held, "", 0
        return held


@lru_cache(maxsize=16)  # an editor sends the same list each time, and n choices share it
def _machine(stops: tuple[str, ...]) -> _Machine:
    return _Machine(stops)


class _Machine:
    """States are prefixes of stop strings: `depth` is their length, `match` the longest stop string
    that ends there (0: none)."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._fail = [0]
        self.depth = [0]
        self.match = [0]
        for stop in stops:
            self._add(stop)
        self._link()

    def step(self, state: int, character: str) -> int:
        """Follow one character."""
        while state and character not in self._next[state]:
            state = self._fail[state]
        return self._next[state].get(character, 0)

    def _add(self, stop: str) -> None:
        state = 0
        for character in stop:
            following = self._next[state].get(character)
            if following is None:
                following = len(self._next)
                self._next[state][character] = following
                self._next.append({})
                self._fail.append(0)
                self.depth.append(self.depth[state] + 1)
                self.match.append(0)
            state = following
        self.match[state] = len(stop)

    def _link(self) -> None:
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, following in self._next[state].items():
                self._fail[following] = self.step(self._fail[state], character)
                queue.append(following)
            if not self.match[state]:
                self.match[state] = self.match[self._fail[state]]
