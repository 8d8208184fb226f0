"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "children_copy",
        "Lets children copy and the parent write in place.",
        told="If it was shared, copy it first. If it was free:",
        edits=[
            (
                "        self.lengths: dict[str, int] = {}",
                "        self.lengths: dict[str, int] = {}\n        self.children: set[str] = set()",
            ),
            (
                "        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]",
                """\
        self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]
        self.children.add(child)""",
            ),
            (
                "self.references[table[-1]] > 1",
                "sequence in self.children",
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
        told="Only a last block that is partly filled, and that",
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
        told="A copy, too, goes into a block that must be free.",
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
        told="What was in the last block must be in its copy, too.",
        edits=[
            ("copies.append((source, table[-1]))", "copies.append((table[-1], source))"),
        ],
    ),
    Fault(
        "freed_for_all",
        "Frees a sequence's blocks whoever else holds them.",
        told="A block on the free list is still held",
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
        told="Count the blocks needed and compare with those that are",
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
        told="If it was shared, copy it first. If it was free:",
        edits=[
            (
                "self.tables[child], self.lengths[child] = list(self.tables[parent]), self.lengths[parent]",
                "self.tables[child], self.lengths[child] = self.tables[parent], self.lengths[parent]",
            ),
        ],
    ),
    Fault(
        "copied_ever_after",
        "Copies for whoever has ever shared, even when nobody else holds the block any more.",
        told="Only a last block that is partly filled, and that",
        edits=[
            (
                "        self.lengths: dict[str, int] = {}",
                "        self.lengths: dict[str, int] = {}\n        self.shared: set[int] = set()",
            ),
            ("self.references[block] += 1", "self.references[block] += 1\n            self.shared.add(block)"),
            ("self.references[table[-1]] > 1", "table[-1] in self.shared"),
            (
                "            self.references[source] -= 1",
                """\
            self.references[source] -= 1
            if self.references[source] == 0:
                self.free_blocks.append(source)""",
            ),
            (
                "        self.references[block] = 1",
                "        self.references[block] = 1\n        self.shared.discard(block)",
            ),
        ],
    ),
    Fault(
        "copies_whole_table",
        "Copies every block that is shared, not only the last one.",
        told="Only a last block that is partly filled, and that",
        edits=[
            (
                "        must_copy = length % self.block_size > 0 and self.references[table[-1]] > 1",
                """\
        shared = [i for i, block in enumerate(table) if self.references[block] > 1]
        must_copy = len(shared) if length % self.block_size > 0 and len(table) - 1 in shared else 0""",
            ),
            (
                """\
            source = table.pop()
            self.references[source] -= 1
            self._take(table)
            copies.append((source, table[-1]))""",
                """\
            for i in shared:
                self._take(table)
                self.references[table[i]] -= 1
                copies.append((table[i], table[-1]))
                table[i] = table.pop()""",
            ),
        ],
    ),
    Fault(
        "flat_copies",
        "Returns sources and destinations in one list, without pairs.",
        edits=[("copies.append((source, table[-1]))", "copies += [source, table[-1]]")],
    ),
    Fault(
        "one_block_spared",
        "Refuses what takes the last free block.",
        edits=[("if new + must_copy > len(self.free_blocks):", "if new + must_copy >= len(self.free_blocks):")],
    ),
    Fault(
        "numbered_from_1",
        "Numbers the blocks from 1.",
        edits=[
            ("list(range(num_blocks))", "list(range(1, num_blocks + 1))"),
            ("[0] * num_blocks", "[0] * (num_blocks + 1)"),
        ],
    ),
    Fault(
        "length_left",
        "Ends a sequence and leaves its length.",
        edits=[
            (
                """\
                self.free_blocks.append(block)
        del self.lengths[sequence]
""",
                """\
                self.free_blocks.append(block)
""",
            ),
        ],
    ),
    Fault(
        "length_not_raised",
        "Appends blocks without counting the new positions.",
        edits=[("        self.lengths[sequence] += positions\n", "")],
    ),
    Fault(
        "never_freed",
        "Forgets to put a block on the free list after its last holder.",
        edits=[
            (
                """\
            if self.references[block] == 0:
                self.free_blocks.append(block)
""",
                "",
            ),
        ],
    ),
    Fault(
        "last_operation_left_out",
        "Changes replay.",
        edits=[("*arguments in operations:", "*arguments in operations[:-1]:")],
    ),
    Fault(
        "writes_into_shared",
        "Never copies: a shared block is written into by all of its holders.",
        told="If it was shared, copy it first. If it was free:",
        edits=[
            ("must_copy = length % self.block_size > 0 and self.references[table[-1]] > 1", "must_copy = False"),
        ],
    ),
]
