"""Buffers in shared memory that tensors go through piece by piece, and the pipeline that moves them.

A piece is still in the cache when the next rank reads it, and the buffers stay small however large the tensor.
A collective is a list of stages, e.g. put, reduce, take. In round k the first stage handles piece k, the second
piece k - 1, the third piece k - 2; then all ranks meet at a barrier, so each stage sees what all ranks did to
its piece in the stage before.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import TrafficCounter, fitted
from sysai.distributed.shared_memory import SharedMemory

PIECE_BYTES = 1 << 21
BUFFERS = 4  # one a stage, and one in which a rank may begin the next collective while others end this one
TEXT_BYTES = 1024

Stage = Callable[[int, Sequence[Tensor]], None]
"""Called with the number of the piece and each rank's buffer for it, a vector of the collective's dtype."""


class Staging:
    """Shared buffers of an axis whose ranks run on one machine; `traffic` counts what they pass on.

    Making one is a collective operation. Raises what `SharedMemory` raises.
    """

    def __init__(self, axis: MeshAxis) -> None:
        self.axis = axis
        self.traffic = TrafficCounter()
        self._memory = SharedMemory(axis, BUFFERS * PIECE_BYTES + 2 * TEXT_BYTES)
        self._rounds = 0
        self._calls = 0

    def part_elements(self, dtype: torch.dtype) -> int:
        """Elements of one of the n equal parts of a buffer."""
        return PIECE_BYTES // dtype.itemsize // self.axis.size

    def run(self, text: str, dtype: torch.dtype, pieces: int, stages: Sequence[Stage]) -> None:
        """Move `pieces` >= 1 pieces through two or three stages. `text` says what all ranks must be doing.

        Raises:
            ValueError: on every rank, if the texts differ.
        """
        own_text = self._texts()[self.axis.rank]
        data = fitted(text, TEXT_BYTES)
        own_text.zero_()[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        buffers = self._buffers(dtype)
        rounds = pieces + len(stages) - 1
        for k in range(rounds):
            for lag, stage in enumerate(stages):
                if 0 <= k - lag < pieces:
                    stage(k - lag, buffers[(self._rounds + k - lag) % BUFFERS])
            if k < rounds - 1:
                self._memory.barrier()
            if k == 0:
                self._compare_texts()
        self._rounds += rounds
        self._calls += 1

    def _buffers(self, dtype: torch.dtype) -> list[tuple[Tensor, ...]]:
        """Each rank's, by the number of the buffer."""
        pieces = [region[: BUFFERS * PIECE_BYTES].view(dtype).chunk(BUFFERS) for region in self._memory.regions]
        return list(zip(*pieces, strict=True))

    def _texts(self) -> list[Tensor]:
        # two in turn: a rank may announce the next collective while others still compare
        begin = BUFFERS * PIECE_BYTES + self._calls % 2 * TEXT_BYTES
        return [region[begin : begin + TEXT_BYTES] for region in self._memory.regions]

    def _compare_texts(self) -> None:
        texts = self._texts()
        if any(not torch.equal(text, texts[0]) for text in texts[1:]):
            lines = [
                f"rank {rank} does {bytes(text.tolist()).rstrip(bytes(1)).decode()}" for rank, text in enumerate(texts)
            ]
            raise ValueError(f"ranks of axis {self.axis.name!r} disagree: " + ", ".join(lines))
