"""A mesh gives the ranks of a job coordinates on named axes, and each line along an axis a process group.

Ranks are numbered in row-major order, the last axis fastest, as torch's DeviceMesh numbers them: in the shape
{"dp": 2, "pp": 3} rank 4 has the coordinates dp = 1, pp = 1, and its line along "pp" is (3, 4, 5). What must be
near (tensor parallelism, which talks most) therefore goes last. Cost: each line of two or more ranks that is
not the whole world makes one process group, a rendezvous of all its ranks.

Production adds slices over several axes, a device order that follows the network, and lazily made groups
(torch.distributed.device_mesh, Megatron's parallel_state).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class MeshAxis:
    """One line of ranks along an axis of a mesh, seen from one of them, with its process group.

    Collectives take it. JAX says mesh axis, torch mesh dimension; torch's own counterpart is `device_mesh[name]`.

    Attributes:
        name: the axis of the mesh.
        ranks: the world's ranks on this line, in the order of their coordinates.
        rank: this process's coordinate, 0 to size - 1.
        group: the process group of these ranks, for torch.distributed.
        device: where this rank's tensors live.
        timeout: seconds after which a message that does not come is an error.
    """

    name: str
    ranks: tuple[int, ...]
    rank: int
    group: dist.ProcessGroup
    device: torch.device
    timeout: float

    @property
    def size(self) -> int:
        """Number of ranks on this line."""
        return len(self.ranks)


class Mesh:
    """Named axes over the ranks of this process's job. All ranks make the same meshes in the same order.

    `rank` and `size` count in the whole job, `device` is where this rank's tensors live.

    Args:
        shape: the size of each axis by name; their product is the number of ranks.
        timeout: seconds after which a message that does not come is an error.

    Raises:
        ValueError: the sizes do not multiply to the number of ranks, or one is not positive.
    """

    def __init__(self, shape: Mapping[str, int], timeout: float = 600.0) -> None:
        self.shape = dict(shape)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = _device_of_messages()
        self.timeout = timeout
        _check(self.shape, self.size)
        ranks = torch.arange(self.size).reshape(tuple(self.shape.values()))
        self._axes = {name: self._axis(name, ranks.movedim(i, -1)) for i, name in enumerate(self.shape)}

    def __getitem__(self, name: str) -> MeshAxis:
        """The line along axis `name` that this rank is on."""
        if name not in self._axes:
            raise KeyError(f"the mesh has no axis {name!r}: its axes are {', '.join(self._axes)}")
        return self._axes[name]

    @property
    def coordinates(self) -> dict[str, int]:
        """This rank's coordinate on each axis."""
        return {name: axis.rank for name, axis in self._axes.items()}

    def __repr__(self) -> str:
        axes = ", ".join(f"{name} {axis.rank} of {axis.size}" for name, axis in self._axes.items())
        return f"Mesh(rank {self.rank}: {axes})"

    def _axis(self, name: str, ranks: torch.Tensor) -> MeshAxis:
        """Make the groups of all lines along the last dimension of `ranks`; return this rank's own."""
        for line in ranks.reshape(-1, ranks.shape[-1]).tolist():
            is_world = len(line) == self.size
            # every rank takes part in making every group, also those that it is not in
            group = dist.group.WORLD if is_world else dist.new_group(line, timedelta(seconds=self.timeout))
            if self.rank in line:
                mine = MeshAxis(name, tuple(line), line.index(self.rank), group, self.device, self.timeout)
        return mine


def _device_of_messages() -> torch.device:
    on_gpu = dist.get_backend() == dist.Backend.NCCL
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def _check(shape: dict[str, int], world_size: int) -> None:
    if not shape or any(size < 1 for size in shape.values()):
        raise ValueError(f"mesh shape {shape} needs at least one axis, and a positive size for each")
    product = math.prod(shape.values())
    if product != world_size:
        sizes = " x ".join(f"{name} {size}" for name, size in shape.items())
        raise ValueError(
            f"mesh {sizes} has {product} places but the job has {world_size} ranks: "
            f"choose sizes whose product is {world_size}, or start {product} ranks"
        )
