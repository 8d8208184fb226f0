"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

ORDER = "for name in sorted(first, key=rounded.get, reverse=True):"
SHARED = "if first[other] <= last[name] and first[name] <= last[other]"
OUTPUTS = "    last.update(dict.fromkeys((name for name in outputs if name in first), len(kernels)))\n"
RESULT = "    return offsets\n"

FAULTS = [
    Fault("pairs", "Returns pairs in place of a dict.", edits=[(RESULT, "    return list(offsets.items())\n")]),
    Fault(
        "one_missing",
        "Leaves out the value that was placed last.",
        edits=[(RESULT, "    offsets.popitem()\n    return offsets\n")],
    ),
    Fault(
        "not_aligned",
        "Places values one after another without rounding up to cache lines.",
        edits=[("-(-sizes[name] // LINE) * LINE", "sizes[name]")],
    ),
    Fault(
        "outputs_let_go",
        "Gives up an output of the graph after its last reader.",
        edits=[(OUTPUTS, "")],
        told="f is an output of the graph: it must still be there after",
    ),
    Fault(
        "over_its_operand",
        "Lets a kernel's result lie over an operand that it reads last.",
        edits=[
            (
                SHARED,
                "if first[other] < max(last[name], first[name] + 1) "
                "and first[name] < max(last[other], first[other] + 1)",
            )
        ],
        told="The kernel of b reads a. While it writes b, it still needs",
    ),
    Fault(
        "first_operand_alone",
        "Keeps the first operand of a kernel up to it, and forgets the others.",
        edits=[("for name in reads if name in first", "for name in reads[:1] if name in first")],
        told="The kernel of",
    ),
    Fault(
        "nothing_shared",
        "Gives each value a place of its own.",
        edits=[(f"\n            {SHARED}", "")],
        hint=Text(
            "Each value has a place of its own. Two may share one if the last reader of the first has run before "
            "the second is made.",
            "每个值都独占一处。如果读前一个值的最后一个内核运行之后，才产生后一个值，两者就可以共用一处。",
        ),
    ),
    Fault(
        "in_order_of_kernels",
        "Places values in the order in which they are made, as an allocator at run time does.",
        edits=[(ORDER, "for name in first:")],
        hint=Text(
            "Values were placed in the order in which they are made, as an allocator at run time must. Beforehand "
            "all are known: what is hardest to place should be placed first.",
            "这是按产生的先后放置的，运行时的分配器只能如此。而事先规划时一切都已知：最难放的应当最先放。",
        ),
    ),
    Fault(
        "smallest_first",
        "Places the smallest values first.",
        edits=[(ORDER, "for name in sorted(first, key=rounded.get):")],
        told="Look for the widest stretch of dots in the picture",
    ),
]
