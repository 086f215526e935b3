"""The way of an answer's text through the post-processing steps, piece by piece.

Steps only cut. A step takes text as it comes, hands on what is certain, holds back what it may
still cut, and may say that the answer is over, which stops the engine. The client's stop strings
always come first. What the steps are is decided in `server.postprocess`.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.caller import Wishes
from server.postprocess.stops import Scanned, StopScanner
from tabwright.request import CompletionRequest


class Chain:
    """The steps of one answer."""

    def __init__(self, request: CompletionRequest, wishes: Wishes) -> None:
        """Prepare for one answer."""
        del wishes
        self._stops = StopScanner(request.stop)

    def push(self, text: str, logprobs: Sequence[float]) -> Scanned:
        """Take the next piece and the log probabilities of the tokens that came with it.

        After `stopped` nothing more may be pushed.
        """
        del logprobs
        return self._stops.push(text)

    def flush(self) -> str:
        """Return what was held back and may be shown, once no more text will come."""
        return self._stops.flush()
