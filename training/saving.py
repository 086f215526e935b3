"""Write checkpoints while training goes on. Read `Saver.save`.

The state is copied, then a thread of each rank writes its share of the copy; a thread of rank 0
then puts the model together, notes the digests and gives the folder its name. A save that fails (a
full disk) is said and leaves nothing; the run goes on and the next one is tried.
"""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from training.checkpoint import (
    STATE,
    copy_checkpoint,
    finish,
    partial_folder,
    prune_checkpoints,
)
from training.config import CheckpointSection

logger = logging.getLogger(__name__)


class Saver:
    """Saves one run's checkpoints; at most one is being written."""

    def __init__(
        self, folder: Path, config: CheckpointSection, model: Any, tokenizer_file: Path
    ) -> None:
        """Every rank makes one, at the same point: a group of their own is formed."""
        self._folder, self._config = folder, config
        self._model, self._tokenizer_file = model, tokenizer_file
        self._group = dist.new_group(backend="gloo")
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[bool] | None = None
        self._saved = True

    def save(self, step: int, state: dict[str, torch.Tensor], memory: dict[str, Any]) -> None:
        """Begin a checkpoint of `step`; waits for the one before. Every rank must call."""
        self.wait()
        work = partial_folder(self._folder, step)
        if dist.get_rank() == 0:
            shutil.rmtree(work, ignore_errors=True)
        dist.barrier(self._group)
        writing: Any = async_save(
            state, storage_writer=FileSystemWriter(work / STATE), process_group=self._group
        )
        self._pending = self._thread.submit(self._complete, step, writing, memory)

    def wait(self) -> bool:
        """Wait until the last checkpoint is written; returns whether it is there on all ranks."""
        if self._pending is not None:
            mine = torch.tensor(float(self._pending.result()))
            self._pending = None
            dist.all_reduce(mine, dist.ReduceOp.MIN, group=self._group)
            self._saved = bool(mine)
        return self._saved

    def close(self) -> bool:
        """Wait and end the thread; returns whether the last checkpoint is there."""
        saved = self.wait()
        self._thread.shutdown()
        return saved

    def _complete(self, step: int, writing: Any, memory: dict[str, Any]) -> bool:
        """Runs in the thread; rank 0 does what is left when all have written."""
        work = partial_folder(self._folder, step)
        try:
            writing.result()
            if dist.get_rank() != 0:
                return True
            path = finish(self._folder, step, self._model, self._tokenizer_file, memory)
        # Whatever stops a save must not stop the run; torch's own error is no Exception.
        except (Exception, CheckpointException) as error:  # noqa: BLE001
            logger.error("step %d was not saved, the run goes on: %s", step, _reason(error))
            if dist.get_rank() == 0:
                shutil.rmtree(work, ignore_errors=True)
            return False
        logger.info("saved %s", path)
        return self._tidy(path)

    def _tidy(self, path: Path) -> bool:
        prune_checkpoints(self._folder, self._config.keep, self._config.keep_every)
        second = self._config.second
        if second is None:
            return True
        try:
            second.mkdir(parents=True, exist_ok=True)
            copy_checkpoint(path, second)
            prune_checkpoints(second, self._config.keep, self._config.keep_every)
        except OSError as error:
            logger.error("%s was not copied to %s: %s", path.name, second, error)
            shutil.rmtree(second / f".{path.name}.partial", ignore_errors=True)
        return True


def restore(checkpoint: Path, state: dict[str, torch.Tensor]) -> None:
    """Read a checkpoint into tensors of this rank's layout, in place. Every rank must call."""
    load(state, storage_reader=FileSystemReader(checkpoint / STATE))


def _reason(error: BaseException) -> str:
    """The innermost cause: what the disk said, not what the ranks said of it."""
    failures = getattr(error, "failures", None)
    if failures:
        inner = next(iter(failures.values()))
        return repr(inner[0] if isinstance(inner, tuple) else inner)
    return repr(error)
