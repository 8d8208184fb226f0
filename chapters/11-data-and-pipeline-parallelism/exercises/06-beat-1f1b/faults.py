"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

BY_PATTERN = """\
from sysai.parallel.pipeline import schedules


def schedule(forward, backward, weight, message, microbatches, held):
    orders = schedules.{pattern}(len(forward), microbatches).orders
    return [[(operation.kind, operation.microbatch) for operation in order] for order in orders]
"""

FAULTS = [
    Fault(
        "one_f_one_b",
        "1F1B itself, with the backward in one piece.",
        text=BY_PATTERN.format(pattern="one_f_one_b"),
        hint=Text(
            "This is 1F1B. The stage ahead waits for B alone: do B first, and W when there is nothing more urgent.",
            "这就是1F1B。前一阶段等的只是B：应先做B，等到没有更急的事时再做W。",
        ),
    ),
    Fault(
        "zb_h1",
        "ZB-H1, whose pattern is made for equal stages and free messages.",
        text=BY_PATTERN.format(pattern="zb_h1"),
        hint=Text(
            "This is ZB-H1, a pattern for equal stages. These stages are not equal, messages take time, and there is "
            "room for more micro-batches: let the times decide what comes next.",
            "这是ZB-H1，为各阶段相等而设计的模式。这里的阶段并不相等，消息要时间，还可以多保存几个微批次："
            "下一步做什么，应由时间来决定。",
        ),
    ),
    Fault(
        "weights_at_once",
        "Does every W directly after its B, so that splitting the backward gains nothing.",
        edits=[('PRIORITY = "BFW"', 'PRIORITY = "WBF"')],
        hint=Text(
            "Every W comes as early as it can, as if B and W were one. While it runs, a B or an F may arrive for which "
            "another stage waits.",
            "每个W都尽早做，等于没有拆开。它运行时，可能正好来了别的阶段在等的B或F。",
        ),
    ),
    Fault(
        "weights_at_the_end",
        "Puts all W at the end, with all micro-batches still held.",
        edits=[
            ("    return orders\n", '    return [sorted(order, key=lambda x: x[0] == "W") for order in orders]\n'),
            (' and count["F"] - count["W"] < held', ""),
        ],
        hint=Text(
            "All micro-batches are held at once. A W frees a micro-batch: it must come before the forward that "
            "would be one too many.",
            "所有微批次同时保存着。W会释放一个微批次：在将要超出的那个前向之前，应先做一个W。",
        ),
    ),
    Fault(
        "held_until_b",
        "Counts a micro-batch as held until its B, and forgets what W needs.",
        edits=[('count["F"] - count["W"] < held', 'count["F"] - count["B"] < held')],
        hint=Text(
            "A micro-batch is held from its F to its W, not only to its B: the weights' gradients need its "
            "activations.",
            "一个微批次要从F保存到W，而不只是到B：求权重的梯度要用它的激活值。",
        ),
    ),
    Fault(
        "forward_first",
        "Prefers F to B.",
        edits=[('PRIORITY = "BFW"', 'PRIORITY = "FBW"')],
        told="Look for the gaps in the picture",
    ),
    Fault(
        "last_stage_left_out",
        "Returns no list for the last stage.",
        edits=[("    return orders\n", "    return orders[:-1]\n")],
    ),
    Fault("numbers_alone", "Returns numbers without kinds.", edits=[("append((kind, j))", "append(j)")]),
    Fault(
        "no_weights",
        "Leaves the gradients of the weights out.",
        edits=[("    return orders\n", '    return [[x for x in order if x[0] != "W"] for order in orders]\n')],
    ),
    Fault(
        "backward_first",
        "Goes backward before it has been forward.",
        edits=[("    return orders\n", "    return [order[::-1] for order in orders]\n")],
    ),
    Fault(
        "deadlock",
        "Takes the micro-batches in another order on the last stage than on the others.",
        edits=[
            (
                "    return orders\n",
                "    orders[-1] = [(kind, microbatches - 1 - j) for kind, j in orders[-1]]\n    return orders\n",
            )
        ],
    ),
]
