"""How the elements of a tensor are divided among the ranks of an axis: one chunk a rank, in the order of the ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor


def chunk_sizes(numel: int, size: int, sizes: Sequence[int] | None = None) -> list[int]:
    """Elements of each of `size` chunks of `numel` elements: as equal as they can be, unless `sizes` says them.

    Raises:
        ValueError: `sizes` are not `size` numbers, none negative, that add up to `numel`.
    """
    if sizes is None:
        return [numel // size + (rank < numel % size) for rank in range(size)]
    if len(sizes) != size or min(sizes) < 0 or sum(sizes) != numel:
        raise ValueError(f"sizes {list(sizes)} must be {size} numbers that add up to {numel} elements")
    return list(sizes)


def gathered_sizes(part: Tensor, size: int, rank: int, sizes: Sequence[int] | None = None) -> list[int]:
    """Elements of each rank's part, of which `part` is that of `rank`; without `sizes` all have as many.

    Raises:
        ValueError: `sizes` are not `size` numbers, or that of `rank` is not the part's.
    """
    if sizes is None:
        return [part.numel()] * size
    if len(sizes) != size or min(sizes) < 0 or sizes[rank] != part.numel():
        raise ValueError(f"sizes {list(sizes)} must be {size} numbers, and that of rank {rank} {part.numel()}")
    return list(sizes)


def check_out(out: Tensor | None, numel: int, like: Tensor) -> Tensor:
    """`out` if it is a contiguous vector of `numel` elements of the dtype and device of `like`; new if it is None.

    Raises:
        ValueError: `out` is something else.
    """
    if out is None:
        return torch.empty(numel, dtype=like.dtype, device=like.device)
    if out.shape != (numel,) or out.dtype != like.dtype or out.device != like.device or not out.is_contiguous():
        raise ValueError(
            f"out must be a contiguous {like.dtype} vector of {numel} elements on {like.device}, "
            f"got {describe(out)} on {out.device}"
        )
    return out


def as_vector(tensor: Tensor) -> Tensor:
    """The elements in order: a view where the tensor is contiguous, else a copy; unknown to autograd.

    Raises:
        ValueError: the tensor is the result of operations that autograd records, whose gradient would be wrong.
    """
    if tensor.grad_fn is not None and torch.is_grad_enabled():
        raise ValueError(
            f"{describe(tensor)} has a graph (from {tensor.grad_fn.name()}) in which a collective leaves no trace: "
            "give tensor.detach(), or work under torch.no_grad()"
        )
    return tensor.detach().contiguous().view(-1)


def copy_back(vector: Tensor, tensor: Tensor) -> None:
    """Put what `as_vector` made of `tensor` back into it, unless it is a view."""
    if not tensor.is_contiguous():
        tensor.detach().copy_(vector.view(tensor.shape))


def describe(tensor: Tensor) -> str:
    """Dtype and shape in a few characters, e.g. float32[3, 4]."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
