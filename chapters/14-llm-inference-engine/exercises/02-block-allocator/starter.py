"""Blocks of a KV cache: counted, shared, and copied before one of their holders writes."""

from collections.abc import Callable


class BlockAllocator:
    """Blocks of `block_size` positions, and the sequences that hold them.

    Attributes:
        free_blocks: the blocks that nobody holds, in any order.
        references: for each block, in how many tables it stands.
        tables: for each sequence, its blocks in the order of its positions; a
            table has no more blocks than the positions need.
        lengths: for each sequence, how many positions it has.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.free_blocks = list(range(num_blocks))
        self.references = [0] * num_blocks
        self.tables: dict[str, list[int]] = {}
        self.lengths: dict[str, int] = {}

    def allocate(self, sequence: str, positions: int) -> bool:
        """Begin a sequence of `positions` positions, at least 1, in blocks of its own.

        Returns:
            False, with nothing changed, if too few blocks are free.
        """
        raise NotImplementedError

    def fork(self, parent: str, child: str) -> None:
        """Begin a sequence with the past of another, in the same blocks; takes no free block."""
        raise NotImplementedError

    def append(self, sequence: str, positions: int) -> list[tuple[int, int]] | None:
        """Make room to write `positions` more, at least 1, behind those that the sequence has.

        Returns:
            (source, destination) for each block that is to be copied before
            the new positions are written; often none. None, with nothing
            changed, if too few blocks are free.
        """
        raise NotImplementedError

    def free(self, sequence: str) -> None:
        """End a sequence."""
        raise NotImplementedError


def replay(num_blocks: int, block_size: int, operations: list[tuple], report: Callable[..., None]) -> None:
    """Carry out operations such as ("append", "a", 3) and report what each left behind. Leave it as it is.

    The check calls this. It plays the memory, and writes a token into every new
    position.
    """
    allocator = BlockAllocator(num_blocks, block_size)
    for name, *arguments in operations:
        result = getattr(allocator, name)(*arguments)
        report(result, allocator.tables, allocator.lengths, allocator.references, allocator.free_blocks)
