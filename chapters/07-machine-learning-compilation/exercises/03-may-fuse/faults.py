"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "ends_of_the_edge",
        "Looks at the classes of the two ends of the edge, not at those of their groups.",
        told="The merged group holds two reductions or matmuls. Look at",
        edits=[
            (
                """\
    if any(kinds[name] == "opaque" for name in merged):
        return "opaque"
    anchors = [name for name in merged if kinds[name] in ANCHORS]""",
                """\
    ends = {producer, consumer}
    if any(kinds[name] == "opaque" for name in ends):
        return "opaque"
    anchors = [name for name in ends if kinds[name] in ANCHORS]""",
            ),
            (
                "if anchors and not _is_ordered(kinds, inputs, merged, anchors[0]):",
                "if anchors and not _is_ordered(kinds, inputs, ends, anchors[0]):",
            ),
        ],
    ),
    Fault(
        "matmul_as_reduction",
        "Lets elementwise operators stand before a matmul, as before a reduction.",
        told="The merged group has a reduction or matmul with a node",
        edits=[
            (
                'allowed = ("movement",) if kinds[anchor] == "matmul" else ("movement", "elementwise")',
                'allowed = ("movement", "elementwise")',
            ),
        ],
    ),
    Fault(
        "one_step_away",
        "Sees a cycle only where a single third group lies between.",
        told="A path leads from the merged group through other groups",
        edits=[
            (
                """\
    needed, waiting = set(), list(merged)
    while waiting:
        for source in inputs[waiting.pop()]:
            if source in needed or source in merged:
                continue
            needed |= whole[source]
            waiting += whole[source]""",
                "    needed = set().union(*(whole[source] for name in merged for source in inputs[name] if source not in merged))",
            ),
        ],
    ),
    Fault(
        "paths_of_nodes",
        "Looks for a way out and back along nodes, though a third group runs as a whole.",
        told="No chain of nodes leads out of the merged group and back,",
        edits=[
            (
                '''\
    """Whether some other group needs the merged one and is needed by it: by groups, as a group runs as a whole."""
    whole = {name: set(group) for group in groups for name in group} | dict.fromkeys(merged, merged)''',
                '    """Whether a path leads out of the merged group and back."""',
            ),
            (
                """\
            needed |= whole[source]
            waiting += whole[source]""",
                """\
            needed.add(source)
            waiting.append(source)""",
            ),
        ],
    ),
    Fault(
        "several_readers",
        "Refuses every producer whose result is read in a third group as well.",
        told="No other group both needs the merged one and is needed by",
        edits=[
            (
                '    return "cycle" if _makes_cycle(inputs, groups, merged) else "yes"',
                '    others = any(producer in inputs[name] for name in kinds if name not in merged)\n    return "cycle" if others or _makes_cycle(inputs, groups, merged) else "yes"',
            ),
        ],
    ),
]
