"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "children_copy",
        "Lets children copy and the parent write in place.",
        told="If it was shared, copy it first. If it was a free block,",
        edits=[
            (
                "        self.lengths: dict[str, int] = {}",
                """\
        self.lengths: dict[str, int] = {}
        self.children: set[str] = set()""",
            ),
            (
                "        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]",
                """\
        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]
        self.children.add(child)""",
            ),
            (
                "must_copy = length % self.block_size > 0 and self.references[table[-1]] > 1",
                "must_copy = length % self.block_size > 0 and sequence in self.children",
            ),
            (
                "        copies = []",
                """\
        copies = []
        self.children.discard(sequence)""",
            ),
            (
                "            self.references[source] -= 1",
                """\
            self.references[source] -= 1
            if self.references[source] == 0:
                self.free_blocks.append(source)""",
            ),
        ],
    ),
    Fault(
        "copies_full_block",
        "Copies a shared last block even if it is full.",
        told="The last block is full. New positions go into the next one;",
        edits=[
            (
                "must_copy = length % self.block_size > 0 and self.references[table[-1]] > 1",
                "must_copy = length > 0 and self.references[table[-1]] > 1",
            ),
        ],
    ),
    Fault(
        "copy_not_counted",
        "Forgets that a copy needs a free block, too, and goes without it.",
        told="The copy goes into a block of its own, which must be free",
        edits=[
            (
                """\
        if new + must_copy > len(self.free_blocks):
            return None""",
                """\
        if new > len(self.free_blocks):
            return None
        must_copy = must_copy and len(self.free_blocks) > new""",
            ),
        ],
    ),
    Fault(
        "copy_reversed",
        "Returns the copy as (destination, source).",
        told="What was in the last block before must be in its copy, too.",
        edits=[
            ("copies.append((source, table[-1]))", "copies.append((table[-1], source))"),
        ],
    ),
    Fault(
        "freed_for_all",
        "Frees a sequence's blocks whoever else holds them.",
        edits=[
            (
                """\
            self.references[block] -= 1
            if self.references[block] == 0:
                self.free_blocks.append(block)""",
                """\
            self.references[block] = 0
            self.free_blocks.append(block)""",
            ),
        ],
    ),
    Fault(
        "half_done",
        "Takes blocks one after the other and stops when there are none.",
        told="First count the blocks needed and compare with those that",
        edits=[
            (
                """\
        if new + must_copy > len(self.free_blocks):
            return None
        copies = []""",
                """\
        copies = []
        if must_copy and not self.free_blocks:
            return None""",
            ),
            (
                "        for _ in range(new):",
                """\
        for _ in range(new):
            if not self.free_blocks:
                return None""",
            ),
        ],
    ),
    Fault(
        "hold_kept",
        "Goes over to the copy, but still counts as a holder of the block copied.",
        told="Whoever has gone over to a copy no longer holds the block",
        edits=[
            (
                """\
            self.references[source] -= 1
""",
                "",
            ),
        ],
    ),
    Fault(
        "one_list",
        "Gives the child its parent's list, not one of its own.",
        told="It is the same as the table of a, c, d. Is it a list of its",
        edits=[
            (
                "self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]",
                "self.tables[child], self.lengths[child] = self.tables[parent], self.lengths[parent]",
            ),
        ],
    ),
    Fault(
        "writes_into_shared",
        "Never copies: a shared block is written into by all of its holders.",
        told="If it was shared, copy it first. If it was a free block,",
        edits=[
            ("must_copy = length % self.block_size > 0 and self.references[table[-1]] > 1", "must_copy = False"),
        ],
    ),
]
