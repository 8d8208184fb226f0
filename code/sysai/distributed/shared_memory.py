"""Memory that the ranks of one machine share, and bells by which they wake each other.

Each rank owns a region that all others map, and a bell: a named pipe that any of them can write a few bytes
into. Data goes through the regions; who has put what where goes through the bells. A rank that waits sleeps in
the kernel until its bell rings, because spinning would take the core from the rank that it waits for.
The files lose their names as soon as all ranks have opened them, so that nothing is left however a rank ends.
On GPUs the counterpart is NVLink's peer memory (torch.distributed._symmetric_memory, NCCL's P2P transport).
"""

import mmap
import os
import platform
import select
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from sysai.distributed.mesh import MeshAxis
from sysai.distributed.scratch import new_scratch


class SharedMemory:
    """A region and a bell for each rank of `axis`; `regions[rank]` is a uint8 tensor of `nbytes`.

    Making one is a collective operation: all ranks of the axis do it together.

    Raises:
        ValueError: the ranks are not on one machine, or their tensors live on GPUs.
        OSError: the file system for shared memory has not enough room.
    """

    def __init__(self, axis: MeshAxis, nbytes: int) -> None:
        if not is_shared_by(axis):
            raise ValueError(f"axis {axis.name!r} has ranks on several machines or on GPUs: use SocketTransport")
        self.axis = axis
        folder = new_scratch()
        try:
            (folder / "region").write_bytes(bytes(nbytes))  # written, not truncated: too little room is an error now
            os.mkfifo(folder / "bell")
            self._bell = os.open(folder / "bell", os.O_RDONLY | os.O_NONBLOCK)
            folders = _all_gather_object(axis, folder)
            self.regions = [_map(path / "region", nbytes) for path in folders]
            self._bells = [os.open(path / "bell", os.O_WRONLY) for path in folders]
            dist.barrier(axis.group)
        finally:
            for name in ("region", "bell"):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()
        weakref.finalize(self, _close, (self._bell, *self._bells))
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._rung = 0

    def ring(self, rank: int, note: bytes = b"!") -> None:
        """Write `note` (at most 512 bytes, which pipes keep together) into another rank's bell.

        Raises:
            ConnectionError: that rank has ended, or has given its shared memory up.
        """
        try:
            os.write(self._bells[rank], note)
        except BrokenPipeError:
            raise ConnectionError(f"rank {rank} of axis {self.axis.name!r} is gone") from None

    def has_rung(self) -> bool:
        """Whether `listen` would return at once."""
        return bool(self._poll.poll(0))

    def listen(self, nbytes: int) -> bytes:
        """Sleep until this rank's bell rings; return at most `nbytes` of what was written.

        Raises:
            RuntimeError: nothing came within the axis's timeout.
        """
        if not self._poll.poll(self.axis.timeout * 1000):
            raise RuntimeError(
                f"rank {self.axis.rank} of axis {self.axis.name!r} heard nothing for {self.axis.timeout:g} s: "
                "another rank is late, or waits for something else"
            )
        return os.read(self._bell, nbytes)

    def barrier(self) -> None:
        """Return when all ranks have come here.

        Each rings every other's bell and waits for as many rings. Who rang need not be known: a rank can ring
        for the next barrier only after all have come to this one.
        """
        others = self.axis.size - 1
        for shift in range(others):
            self.ring((self.axis.rank + 1 + shift) % self.axis.size)
        while self._rung < others:
            self._rung += len(self.listen(others))
        self._rung -= others


def is_shared_by(axis: MeshAxis) -> bool:
    """Whether all ranks of `axis` run on one machine and on its CPU. A collective operation."""
    return axis.device.type == "cpu" and len(set(_all_gather_object(axis, platform.node()))) == 1


def _all_gather_object(axis: MeshAxis, value: object) -> list:
    values = [None] * axis.size
    dist.all_gather_object(values, value, group=axis.group)
    return values


def _map(path: Path, nbytes: int) -> Tensor:
    with open(path, "r+b") as file:
        return torch.frombuffer(mmap.mmap(file.fileno(), nbytes), dtype=torch.uint8)


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
