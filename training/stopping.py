"""SIGTERM or SIGINT asks for a checkpoint and an end; all ranks agree on the step."""

from __future__ import annotations

import signal

import torch
import torch.distributed as dist


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
