"""What a post-processing step is: an automaton that reads an answer and only ever cuts its end.

A step reads one character at a time, so what it does cannot depend on how the text came in pieces.
After each character it says how many of the last ones it may still cut. `Held` keeps those back and
hands on the rest; it is what `server.chain` puts in a row. Read `Step` first.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Scanned(NamedTuple):
    """Text that is certain now, and whether the answer has ended."""

    text: str
    stopped: bool


class Step(Protocol):
    """One rule about where an answer ends.

    hold: how many of the characters read last may still be cut; it grows by at most one with each.
    over: the answer has ended before those.
    """

    hold: int
    over: bool

    def read(self, character: str) -> None:
        """Take the next character; never called once `over`."""

    def finish(self, whole: bool) -> int:
        """Say how many of the held characters to cut, now that no more will come.

        whole: the model, a stop string or another step ended the answer, not the length limit.
        """


class Held:
    """A step and the text that it holds back."""

    def __init__(self, step: Step) -> None:
        """Prepare for one answer."""
        self._step = step
        self._text = ""

    def push(self, text: str) -> Scanned:
        """Take the next piece. After `stopped` nothing more may be pushed."""
        step = self._step
        read = step.read
        for index, character in enumerate(text):
            read(character)
            if step.over:
                seen = self._text + text[: index + 1]
                self._text = ""
                return Scanned(seen[: len(seen) - step.hold], True)
        seen = self._text + text
        certain = len(seen) - step.hold
        self._text = seen[certain:]
        return Scanned(seen[:certain], False)

    def flush(self, whole: bool) -> str:
        """Return what was held back and may be shown, once no more text will come."""
        held, self._text = self._text, ""
        return held[: len(held) - self._step.finish(whole)]
