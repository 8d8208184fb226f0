"""Bytes of a chain of operators, one kernel each and fused into one."""


def eager_bytes(shapes: dict[str, tuple[int, int]], chain: list[list[str]], element_bytes: int) -> int:
    """Return the bytes read and written if each operator is a kernel.

    Args:
        shapes: (rows, columns) of "x" and of every operand; an axis of size 1
            is broadcast.
        chain: for each operator, the operands that it takes beside the running
            tensor; the list may be empty, and may name "x" or one operand
            again. All results have the shape of "x".
        element_bytes: bytes of an element, the same for all tensors.
    """
    raise NotImplementedError


def fused_bytes(shapes: dict[str, tuple[int, int]], chain: list[list[str]], element_bytes: int) -> int:
    """Return the bytes read and written if the whole chain is one kernel.

    Args: as for eager_bytes. `shapes` may hold tensors that no operator takes.
    """
    raise NotImplementedError


def speed_up(
    shapes: dict[str, tuple[int, int]],
    chain: list[list[str]],
    element_bytes: int,
    flops: list[int],
    bandwidth: float,
    peak: float,
) -> float:
    """Return the time of all kernels over the time of the fused one.

    Args:
        shapes, chain, element_bytes: as for eager_bytes.
        flops: of each operator, for each element of its result.
        bandwidth: of the memory, in bytes per second.
        peak: rate of arithmetic, in FLOP/s.
    """
    raise NotImplementedError
