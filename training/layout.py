"""Which rank does what: a grid of ranks that hold stages, share rows and share matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from training.config import TrainConfig

STAGES, ROWS, MATRICES = "stages", "rows", "matrices"


@dataclass(frozen=True, slots=True)
class Layout:
    """One rank's place in the grid. row_rank, row_ranks: its share of every batch's rows."""

    mesh: DeviceMesh
    row_rank: int
    row_ranks: int

    @classmethod
    def of(cls, config: TrainConfig, device: torch.device) -> Layout:
        """Lay the ranks out.

        Raises:
            ConfigError: the world size or the rows do not divide as `[parallel]` wants it.
        """
        row_ranks = config.row_ranks(dist.get_world_size())
        shape = (config.parallel.pipeline, row_ranks, config.parallel.tensor)
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=(STAGES, ROWS, MATRICES))
        return cls(mesh, mesh[ROWS].get_local_rank(), row_ranks)

    @property
    def tensor(self) -> int:
        """Ranks that share each matrix."""
        return self.mesh[MATRICES].size()

    @property
    def stages(self) -> dist.ProcessGroup:
        """The ranks of this one's pipeline, in the order of their stages."""
        return self.mesh[STAGES].get_group()

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """Sum over the ranks that share rows; every rank must call."""
        value = value.clone()
        dist.all_reduce(value, group=self.mesh[ROWS].get_group())
        return value

    def agreed(self, values: torch.Tensor) -> torch.Tensor:
        """The same numbers on all ranks, those of rank 0: what they decide by must not differ."""
        values = values.clone()
        dist.broadcast(values, src=0)
        return values
