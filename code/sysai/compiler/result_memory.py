"""Memory for results: what the caller has let go of is given out again.

A fresh result of 64 MB is 16,384 pages, and the first write to each is a fault: three times what writing costs. The
allocator of the C library gives such pieces back to the system each time. So one large piece for each result is kept
here, and given out again once nobody else holds it (torch counts who does). PyTorch does the same on GPUs (its
caching allocator); on CPUs, allocators such as jemalloc do it for a whole process.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

LARGE = 1 << 20  # bytes; smaller pieces the C library keeps itself


class ResultMemory:
    """The last large tensor of each result."""

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def tensor(self, result: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory for a result: a tensor with undefined elements, which nobody else sees."""
        kept = self._kept.get(result)
        if kept is not None and kept.shape == shape and kept.dtype == dtype and _holders(kept) == 1:
            return kept.view(shape)
        fresh = torch.empty(shape, dtype=dtype)
        if fresh.nbytes < LARGE:
            return fresh
        self._kept[result] = fresh
        return fresh.view(shape)


def _holders(tensor: Tensor) -> int:
    """How many tensors have this one's memory, itself included."""
    storage = tensor.untyped_storage()
    return torch._C._storage_Use_Count(storage._cdata) - 1  # `storage` is one more
