"""Lets children copy and the parent write in place."""

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
        self.children: set[str] = set()

    def allocate(self, sequence: str, positions: int) -> bool:
        """Begin a sequence of `positions` positions in blocks of its own; False if too few are free."""
        self.tables[sequence], self.lengths[sequence] = [], 0
        if self.append(sequence, positions) is None:
            del self.tables[sequence], self.lengths[sequence]
            return False
        return True

    def fork(self, parent: str, child: str) -> None:
        """Begin a sequence with the past of another, in the same blocks."""
        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]
        self.children.add(child)
        for block in self.tables[child]:
            self.references[block] += 1

    def append(self, sequence: str, positions: int) -> list[tuple[int, int]] | None:
        """Make room for `positions` more; return the copies to be made first, or None if too few blocks are free."""
        table, length = self.tables[sequence], self.lengths[sequence]
        must_copy = length % self.block_size > 0 and sequence in self.children
        new = -(-(length + positions) // self.block_size) - len(table)
        if new + must_copy > len(self.free_blocks):
            return None
        copies = []
        self.children.discard(sequence)
        if must_copy:
            source = table.pop()
            self.references[source] -= 1
            if self.references[source] == 0:
                self.free_blocks.append(source)
            self._take(table)
            copies.append((source, table[-1]))
        for _ in range(new):
            self._take(table)
        self.lengths[sequence] += positions
        return copies

    def free(self, sequence: str) -> None:
        """End a sequence; a block is free after its last holder."""
        for block in self.tables.pop(sequence):
            self.references[block] -= 1
            if self.references[block] == 0:
                self.free_blocks.append(block)
        del self.lengths[sequence]

    def _take(self, table: list[int]) -> None:
        """Move a free block to the end of a table."""
        block = self.free_blocks.pop()
        self.references[block] = 1
        table.append(block)


def replay(num_blocks: int, block_size: int, operations: list[tuple], report: Callable[..., None]) -> None:
    """Carry out operations such as ("append", "a", 3) and report what each left behind. Leave it as it is.

    The check calls this. It plays the memory, and writes a token into every new
    position.
    """
    allocator = BlockAllocator(num_blocks, block_size)
    for name, *arguments in operations:
        result = getattr(allocator, name)(*arguments)
        report(result, allocator.tables, allocator.lengths, allocator.references, allocator.free_blocks)
