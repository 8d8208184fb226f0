"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "in_order_of_kernels",
        "Places values in the order in which they are made, as an allocator at run time does.",
        told="Values were placed in the order in which they are made, as",
        edits=[
            ("for name in sorted(first, key=rounded.get, reverse=True):", "for name in first:"),
        ],
    ),
    Fault(
        "not_aligned",
        "Places values behind one another without rounding up to cache lines.",
        told="Round the bytes of each value up to whole cache lines",
        edits=[
            (
                "rounded = {name: -(-sizes[name] // LINE) * LINE for name in first}",
                "rounded = {name: sizes[name] for name in first}",
            ),
        ],
    ),
    Fault(
        "nothing_shared",
        "Gives each value a place of its own.",
        told="Each value has a place of its own. Two may share one if the",
        edits=[
            (
                """\
        taken = sorted(
            (offsets[other], offsets[other] + rounded[other])
            for other in offsets
            if first[other] <= last[name] and first[name] <= last[other]
        )""",
                "        taken = sorted((offsets[other], offsets[other] + rounded[other]) for other in offsets)",
            ),
        ],
    ),
    Fault(
        "outputs_let_go",
        "Gives up an output of the graph after its last reader.",
        told="f is an output of the graph: it must still be there after",
        edits=[
            (
                """\
    last.update(dict.fromkeys((name for name in outputs if name in first), len(kernels)))
""",
                "",
            ),
        ],
    ),
    Fault(
        "over_its_operand",
        "Lets a kernel's result lie over an operand that it reads last.",
        told="The kernel of b reads a. While it writes b, it still needs",
        edits=[
            (
                "if first[other] <= last[name] and first[name] <= last[other]",
                "if first[other] < max(last[name], first[name] + 1) and first[name] < max(last[other], first[other] + 1)",
            ),
        ],
    ),
]
