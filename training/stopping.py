"""How a run ends before its last step: by a signal, or for somebody to look at.

SIGTERM or SIGINT asks for a checkpoint and an end; all ranks agree on the step. What ended with
`RunStopped` stays ended though torchrun starts every failed rank again, until a person starts it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist

from tabwright.errors import RunStopped

_WHY = "stopped.txt"


class StopSignal:
    """Notes the signal; `received` is true on all ranks once one of them got it."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def anywhere(self, device: torch.device) -> bool:
        """Whether any rank was asked to stop; every rank must call."""
        asked = torch.tensor(float(self.received), device=device)
        dist.all_reduce(asked)
        self.received = bool(asked > 0)
        return self.received

    def _note(self, *_: object) -> None:
        self.received = True


def note_stop(out: Path, why: str) -> None:
    """Write down that the run in `out` must not go on by itself."""
    (out / _WHY).write_text(why, encoding="utf-8")


def refuse_restart(out: Path) -> None:
    """Let a person's start go on, and torchrun's own end again where the last one was stopped.

    Raises:
        RunStopped: it was, with the same words.
    """
    file = out / _WHY
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        file.unlink(missing_ok=True)
    elif file.is_file():
        raise RunStopped(file.read_text(encoding="utf-8"))
