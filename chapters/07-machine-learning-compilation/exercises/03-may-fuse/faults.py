"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

CYCLE = 'return "cycle" if _makes_cycle(inputs, groups, merged) else "yes"'
WHOLE = "            needed |= whole[source]\n            waiting += whole[source]\n"
ORDER = Text(
    "The merged group has a reduction or matmul with a node before or after it that must not be there: before a matmul "
    "only movements, before a reduction only movements and elementwise, after either only elementwise nodes.",
    "合并后的组里，归约或矩阵乘法的前面或后面有不该有的节点：矩阵乘法之前只能是movement，"
    "归约之前只能是elementwise或movement，在两者之后的都只能是elementwise。",
)
AROUND = Text(
    "A path leads from the merged group through other groups back into it. None of these kernels could start.",
    "有一条路径从合并后的组出发，经过别的组又回到它自身。这些内核哪一个都无法开始。",
)

FAULTS = [
    Fault(
        "true", "Returns True instead of a word.", edits=[(CYCLE, "return not _makes_cycle(inputs, groups, merged)")]
    ),
    Fault("no", "Returns a word that is none of the five.", edits=[('return "opaque"', 'return "no"')]),
    Fault(
        "opaque_fused",
        "Does not look for opaque nodes.",
        edits=[('if any(kinds[name] == "opaque" for name in merged):', "if False:")],
        hint=Text("An opaque node is in one of the two groups.", "两组中有一个不透明的节点。"),
    ),
    Fault(
        "ends_of_the_edge",
        "Counts reductions and matmuls at the two ends of the edge, not in their groups.",
        edits=[("if len(anchors) > 1:", "if len({producer, consumer} & {*anchors}) > 1:")],
        hint=Text(
            "The merged group holds two reductions or matmuls: count those among all nodes of both groups, not only at "
            "the two ends of the edge.",
            "合并后的组里有两个归约或矩阵乘法：要数两组的所有节点，而不只是边的两端。",
        ),
    ),
    Fault(
        "matmul_as_reduction",
        "Lets elementwise operators stand before a matmul, as before a reduction.",
        edits=[
            (
                '("movement",) if kinds[anchor] == "matmul" else ("movement", "elementwise")',
                '("movement", "elementwise")',
            )
        ],
        hint=ORDER,
    ),
    Fault(
        "dependence_ignored",
        "Demands of every node of the group what only those after the anchor must be.",
        edits=[("if name in merged and behind & set(inputs[name]):", "if name in merged and name not in before:")],
        hint=Text(
            "Only dependence within the group counts, and only before or after its reduction or matmul. A node of the "
            "group that neither needs the anchor nor is needed by it may be a movement or elementwise.",
            "只看组内的依赖，而且只看归约或矩阵乘法的前后。组里既不依赖它、它也不依赖的节点，"
            "可以是movement，也可以是elementwise。",
        ),
    ),
    Fault(
        "paths_of_nodes",
        "Looks for a way out and back along nodes, though a third group runs as a whole.",
        edits=[(WHOLE, "            needed.add(source)\n            waiting.append(source)\n")],
        hint=Text(
            "There is a cycle, though no chain of nodes leads out of the merged group and back: another group takes a "
            "value in one of its nodes and gives one from another node. A group runs as a whole.",
            "这里有环，尽管没有哪一串节点从合并后的组出去又回来：别的组用一个节点取走了值，又从另一个节点给出值，"
            "而一组是作为整体运行的。",
        ),
    ),
    Fault(
        "one_step_away",
        "Sees a cycle only where a single third group lies between.",
        edits=[(WHOLE, "            needed |= whole[source]\n")],
        hint=AROUND,
    ),
    Fault(
        "several_readers",
        "Refuses every producer whose result is read in a third group as well.",
        edits=[
            (
                CYCLE,
                'if any(producer in inputs[name] for name in kinds if name not in merged):\n        return "cycle"\n'
                f"    {CYCLE}",
            )
        ],
        hint=Text(
            "No other group both needs the merged one and is needed by it. That a value has several readers, or the "
            "merged group several inputs, makes no cycle; nor does a path inside of it.",
            "没有别的组既需要合并后的组、又被它需要。一个值有几处使用，或者合并后的组有几个输入，都不构成环；"
            "组内部的路径也不算。",
        ),
    ),
    Fault(
        "any_order",
        "Does not look at what stands before and after a reduction or matmul.",
        edits=[("if anchors and not _is_ordered(kinds, inputs, merged, anchors[0]):", "if False:")],
        hint=ORDER,
    ),
    Fault("any_cycle", "Does not look for cycles.", edits=[(CYCLE, 'return "yes"')], hint=AROUND),
]
