"""The way of an answer's text through the post-processing steps, piece by piece.

Steps only cut the end. The client's stop strings always come first; the steps of the version that
the request wishes follow, for fill-in-the-middle only: a plain continuation has no cursor. Which
steps a version has is decided in `server.postprocess`. Read `Chain.push` first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from server.caller import Eagerness, Lines, Wishes
from server.cursor import Cursor, cursor_of
from server.postprocess import VERSIONS
from server.postprocess.brackets import Brackets
from server.postprocess.confidence import Confidence
from server.postprocess.extent import Extent
from server.postprocess.loose import LooseEnds
from server.postprocess.next_line import NextLine
from server.postprocess.overlap import Overlap
from server.postprocess.repetition import Repetition
from server.postprocess.scope import Scope
from server.postprocess.stops import StopScanner
from server.postprocess.substance import Substance
from server.step import Held, Scanned, Step
from tabwright.request import CompletionRequest

_SINGLE = {Lines.AUTO: None, Lines.SINGLE: True, Lines.MULTI: False}

_STEPS: dict[str, Callable[[Cursor, Eagerness], Step]] = {
    "brackets": lambda cursor, _: Brackets(cursor),
    "extent": lambda cursor, eager: Extent(cursor, _SINGLE[eager.lines]),
    "scope": lambda cursor, eager: Scope(cursor, wide=eager.lines is Lines.MULTI),
    "next_line": lambda cursor, _: NextLine(cursor),
    "overlap": lambda cursor, _: Overlap(cursor),
    "repetition": lambda cursor, _: Repetition(cursor),
    "loose": lambda cursor, eager: LooseEnds(cursor, single=eager.lines is Lines.SINGLE),
    "substance": lambda cursor, _: Substance(cursor),
}


class Chain:
    """The steps of one answer."""

    def __init__(self, request: CompletionRequest, wishes: Wishes) -> None:
        """Prepare for one answer."""
        self._stops = StopScanner(request.stop)
        self._confidence: Confidence | None = None
        self._steps: list[Held] = []
        if request.suffix is not None and wishes.postprocess != "off":
            self._prepare(cursor_of(request), wishes.eagerness, VERSIONS[wishes.postprocess])

    def push(self, text: str, logprobs: Sequence[float]) -> Scanned:
        """Take the next piece and the log probabilities of the tokens that came with it.

        After `stopped` nothing more may be pushed.
        """
        if self._confidence is not None:
            self._confidence.weigh(logprobs)
        text, stopped = self._stops.push(text)
        return self._through(text, stopped, whole=True)

    def flush(self, whole: bool) -> str:
        """Return what was held back and may be shown, once no more text will come.

        whole: the model ended the answer itself, not a limit.
        """
        return self._through(self._stops.flush(), True, whole).text

    def _prepare(self, cursor: Cursor, eagerness: Eagerness, names: Sequence[str]) -> None:
        for name in names:
            if name != "confidence":
                self._steps.append(Held(_STEPS[name](cursor, eagerness)))
            elif eagerness.min_confidence:
                self._confidence = Confidence(eagerness.min_confidence)
                self._steps.append(Held(self._confidence))

    def _through(self, text: str, over: bool, whole: bool) -> Scanned:
        for step in self._steps:
            stopped = False
            if text:
                text, stopped = step.push(text)
            if stopped:
                over = whole = True
            elif over:
                text += step.flush(whole)
        return Scanned(text, over)
