"""When the stages of one generation ended; metrics and traces are made of it afterwards.

    admission     from the request to a permit: in line
    prompt        cutting, laying out and tokenising the prompt
    queue         inside the engine, before it begins to compute
    prefill       from then to the first token, what is left of the step that runs included
    decode        from the first token to the last
    postprocess   the part of decode in which text is made of tokens and cut

Writing down is two clock readings a stage and knows no metric. A request that is answered from
another's generation has none of its own. Read `Timing` first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Stage(StrEnum):
    """What a generation does at one time."""

    ADMISSION = "admission"
    PROMPT = "prompt"
    QUEUE = "queue"
    PREFILL = "prefill"
    DECODE = "decode"
    POSTPROCESS = "postprocess"


class Span(NamedTuple):
    """From when to when, in seconds of `time.perf_counter`."""

    start: float
    end: float


@dataclass(slots=True, eq=False)
class Timing:
    """The stages of one generation that have ended, in order, and the tokens it took.

    postprocess_s: the time of all pieces together, which is no one span.
    """

    spans: dict[Stage, Span] = field(default_factory=dict)
    postprocess_s: float = 0.0
    prompt_tokens: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def end(self, stage: Stage) -> None:
        """Note that `stage` is over and the next one begins."""
        now = time.perf_counter()
        self.spans[stage] = Span(self._since, now)
        self._since = now

    def first_token(self, queued_s: float) -> None:
        """Note the first token, of whose wait the engine says that so much was its line."""
        begun = self._since + queued_s
        self.spans[Stage.QUEUE] = Span(self._since, begun)
        self._since = begun
        self.end(Stage.PREFILL)

    def cut(self) -> None:
        """Note that the request was ended early: waiting in line counts with the time it had."""
        if not self.spans:
            self.end(Stage.ADMISSION)

    def close(self) -> None:
        """Note that the generation is over, to its end or not."""
        if Stage.PREFILL in self.spans and Stage.DECODE not in self.spans:
            self.end(Stage.DECODE)

    def seconds(self) -> dict[Stage, float]:
        """How long each stage took that was reached."""
        took = {stage: span.end - span.start for stage, span in self.spans.items()}
        if Stage.PREFILL in took:
            took[Stage.POSTPROCESS] = self.postprocess_s
        return took
