"""What the gateway and the worker process of the CPU engine say to each other.

    gateway → worker   Start (once, first)  Add  Cancel  AskStats  Shutdown
    worker → gateway   Ready | StartFailed (once, first)  StepReport (one a step)  WorkerStats

Every added request gets exactly one end: a piece with `finish`, a place in `closed` (it was
cancelled and its blocks may be given away), or a place in `failed`. A message is one line of JSON
over a socket pair: the worker runs native code over whatever users type, so the gateway does not
unpickle what it says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Start:
    """Load this model. Paths as text; `weights` and `precision` as in `cpu_settings`."""

    checkpoint: str
    ir_folder: str
    weights: str
    precision: str
    threads: int
    slots: int
    kv_blocks: int
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Add:
    """Run this request. Its numbers have been checked, and the pool has room for it."""

    request: int
    prompt: list[int]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    stop_ids: list[int]
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Sequence[tuple[int, float]] = ()
    alternatives: int = 0
    prompt_logprobs: bool = False

    @property
    def needs_logits(self) -> bool:
        """It asks for what only the logits themselves can give; the pipeline keeps those."""
        return bool(
            self.presence_penalty
            or self.frequency_penalty
            or self.logit_bias
            or self.alternatives
            or self.prompt_logprobs
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this request; harmless when it has ended."""

    request: int


@dataclass(frozen=True, slots=True)
class AskStats:
    """Answer with WorkerStats."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Exit. A closed socket says the same."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Requests may come."""

    convert_s: float
    load_s: float
    kv_cache_mb: float


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The worker cannot run this model and exits. `kind` is config, corrupt, missing or broken."""

    kind: str
    message: str


class Piece(NamedTuple):
    """New tokens of one request; `finish` is stop or length on the last.

    Rankings are lists of id and log probability. prompt_*: on the first piece, where asked for.
    """

    request: int
    ids: list[int]
    logprobs: list[float]
    finish: str | None
    alternatives: Sequence[Sequence[tuple[int, float]]] = ()
    prompt_logprobs: Sequence[float | None] = ()
    prompt_alternatives: Sequence[Sequence[tuple[int, float]]] = ()


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step brought, or what was cancelled before it."""

    pieces: list[Piece]
    closed: list[int]
    failed: list[int]


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """Counts of the worker's life so far; times of its last steps."""

    steps: int
    step_ms_p50: float
    step_ms_p95: float
    active: int
    peak_rss_mb: float


Message = (
    Start | Add | Cancel | AskStats | Shutdown | Ready | StartFailed | StepReport | WorkerStats
)
_KINDS = {
    kind.__name__: kind
    for kind in (
        Start,
        Add,
        Cancel,
        AskStats,
        Shutdown,
        Ready,
        StartFailed,
        StepReport,
        WorkerStats,
    )
}


def encode(message: Message) -> bytes:
    """One line for one message."""
    if isinstance(message, StepReport):  # the frequent one; `astuple` would copy it deeply
        fields: tuple[object, ...] = (message.pieces, message.closed, message.failed)
    else:
        fields = astuple(message)
    return json.dumps([type(message).__name__, *fields]).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line."""
    kind, *fields = json.loads(line)
    if kind == StepReport.__name__:
        pieces, closed, failed = fields
        return StepReport([Piece(*piece) for piece in pieces], closed, failed)
    message: Message = _KINDS[kind](*fields)
    return message


class Inbox:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """Take what was read and return the messages that are whole by now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [decode(line) for line in lines]
