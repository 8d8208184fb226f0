"""Where each value of a graph lies in one arena."""

LINE = 64


def plan(kernels: list[tuple[str, list[str]]], sizes: dict[str, int], outputs: list[str]) -> dict[str, int]:
    """Return the offset, in bytes, of each value that a kernel makes.

    Args:
        kernels: (value that it makes, values that it reads), in the order in
            which they run. What is read and made by no kernel is an input of
            the graph.
        sizes: bytes of each value that a kernel makes, not always a multiple
            of LINE.
        outputs: values that are needed after the last kernel.

    Returns:
        Multiples of LINE. Two values that are needed at the same time share no
        byte. The largest of offset plus bytes is at most 1.05 times the bytes
        that are needed at once, each value rounded up to LINE.
    """
    raise NotImplementedError
