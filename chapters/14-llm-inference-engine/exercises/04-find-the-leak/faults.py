"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "abort_gives_all",
        "Gives back all blocks of a request that is aborted, those too that it no longer holds.",
        told="Freed too often: by somebody who did not hold it",
        edits=[
            (
                """\
        if request in self.running:
            self.running.remove(request)""",
                """\
        if request is not None:
            (self.running if request in self.running else self.waiting).remove(request)""",
            ),
            (
                """\
        elif request in self.waiting:
            self.waiting.remove(request)
""",
                "",
            ),
        ],
    ),
    Fault(
        "as_it_was",
        "The colleague's code.",
        told="A leak. A request went over to a copy of this block;",
        base="starter",
        edits=[
            (
                """\
    raise NotImplementedError("mend what is above, then delete this line")
""",
                "",
            ),
        ],
    ),
    Fault(
        "copied_block_freed",
        "Puts a block that was copied on the free list, although others hold it.",
        told="Freed too often: by somebody who did not hold it",
        edits=[
            ("self.device.give_back(request.blocks.pop())", "self.device.free.append(request.blocks.pop())"),
        ],
    ),
    Fault(
        "copies_alone",
        "Mends the copy on write, which leaks at every fork, and nothing else.",
        told="A leak. The request was waiting, swapped out:",
        base="starter",
        edits=[
            ("request.blocks.pop()", "self.device.give_back(request.blocks.pop())"),
            (
                """\
    raise NotImplementedError("mend what is above, then delete this line")
""",
                "",
            ),
        ],
    ),
    Fault(
        "never_copied",
        "Writes into shared blocks, so that nothing need be copied.",
        edits=[
            ("if partly_filled and self.device.references[request.blocks[-1]] == 1:", "if partly_filled:"),
            (
                """\
        if partly_filled:  # shared: the model copies it before it writes
            self.device.give_back(request.blocks.pop())
""",
                "",
            ),
        ],
    ),
    Fault(
        "never_shared",
        "Does without sharing, which is where counts go wrong: a child waits and is computed anew.",
        edits=[
            (
                """\
        if len(self.running) == self.max_running:
            self.add(child, request.length, output)
            return
        for block in request.blocks:
            self.device.share(block)
        self.running.append(Request(child, request.length, output, list(request.blocks)))""",
                "        self.add(child, request.length, output)",
            ),
        ],
    ),
    Fault(
        "never_swapped",
        "Does without the host, where blocks are lost: whoever is preempted is computed again.",
        edits=[
            (
                """\
        needed = self._blocks_for(request.length)
        if needed <= len(self.host.free):
            request.host_blocks = [self.host.take() for _ in range(needed)]
""",
                "",
            ),
        ],
    ),
    Fault(
        "no_partial_swap_mended",
        "Mends what leaks often, and not the swap that finds too little room.",
        told="A leak. It was taken for a request that was preempted in",
        edits=[
            (
                """\
        if needed <= len(self.host.free):
            request.host_blocks = [self.host.take() for _ in range(needed)]""",
                """\
        host_blocks = [self.host.take() for _ in range(needed)]
        if None not in host_blocks:
            request.host_blocks = host_blocks""",
            ),
        ],
    ),
    Fault(
        "host_kept",
        "Keeps the blocks on the host of a request that has come back to the device.",
        told="A leak. Its holder came back to the device;",
        edits=[
            (
                """\
            while request.host_blocks:  # the model copies them back
                self.host.give_back(request.host_blocks.pop())
""",
                "            request.host_blocks = []\n",
            ),
        ],
    ),
    Fault(
        "shared_twice",
        "Counts a child of a fork twice.",
        edits=[("            self.device.share(block)\n", "            self.device.share(block)\n" * 2)],
    ),
    Fault(
        "child_lost",
        "Forgets a child for which there is no place.",
        edits=[("            self.add(child, request.length, output)\n", "")],
    ),
    Fault(
        "block_in_reserve",
        "Gives a request that it admits a block for later.",
        edits=[("self.waiting[0].length + 1)", "self.waiting[0].length + self.block_size)")],
    ),
    Fault(
        "room_for_all",
        "Admits nobody unless a block stays free for each that may run.",
        edits=[("if needed > len(self.device.free):", "if needed + self.max_running > len(self.device.free):")],
    ),
    Fault(
        "running_not_aborted",
        "Aborts only requests that wait.",
        edits=[("for other in (*self.running, *self.waiting) if", "for other in self.waiting if")],
    ),
    Fault(
        "last_event_left_out",
        "Changes serve.",
        edits=[("*arguments in events:", "*arguments in events[:-1]:")],
    ),
    Fault(
        "swept_each_step",
        "Recounts all blocks at the end of each step, and leaves the leak of an abort until then.",
        told="A leak. The request was waiting, swapped out:",
        base="starter",
        edits=[
            (
                "                    self.device.give_back(block)",
                '''\
                    self.device.give_back(block)
        self._sweep()

    def _sweep(self) -> None:
        """Count again from the tables."""
        tables = [r.blocks for r in self.running], [r.host_blocks for r in self.waiting]
        for pool, held in zip((self.device, self.host), tables, strict=True):
            blocks = [block for table in held for block in table]
            pool.references = [blocks.count(block) for block in range(len(pool.references))]
            pool.free = [block for block, count in enumerate(pool.references) if count == 0]''',
            ),
            (
                """\
    raise NotImplementedError("mend what is above, then delete this line")
""",
                "",
            ),
        ],
    ),
]
