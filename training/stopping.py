"""SIGTERM or SIGINT asks for a checkpoint and an end; all ranks agree on the step."""

from __future__ import annotations

import signal

import torch

from training.distributed import total


class StopSignal:
    """Notes the signal; `received` is true on all ranks once one of them got it."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def anywhere(self, device: torch.device) -> bool:
        """Whether any rank was asked to stop; every rank must call."""
        self.received = bool(total(torch.tensor(float(self.received), device=device)) > 0)
        return self.received

    def _note(self, *_: object) -> None:
        self.received = True
