"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "embedding_counted",
        "Counts an embedding table that is only looked up among the weights.",
        edits=[("weights -= count.embedding  # looked up, not read whole", "pass")],
        hint=Text(
            "You counted the embedding table. It is only looked up here (tie_embeddings is False): a call "
            "reads one row of it for each token and multiplies none.",
            "你计入了嵌入表。这里它只用来查表（tie_embeddings为False）：每个词元只读一行，也不做乘法。",
        ),
    ),
    Fault(
        "tied_table_left_out",
        "Leaves the embedding table out even where it serves as the head.",
        edits=[("if not config.tie_embeddings:", "if True:")],
        hint=Text(
            "You left the embedding table out. This model's weights are tied (tie_embeddings is True): the "
            "same table is its head, which is read and multiplied in every call.",
            "你没有计入嵌入表。这个模型共享权重（tie_embeddings为True），同一张表就是输出头，"
            "每次调用都要读它、用它做乘法。",
        ),
    ),
    Fault(
        "one_device",
        "Lets every device read and compute everything, as if there were one.",
        edits=[("/ (devices * peak)", "/ peak"), ("/ (devices * bandwidth)", "/ bandwidth")],
        hint=Text(
            "This is the limit of one device. All devices read and compute their shares at the same time.",
            "这是一块设备的上限。所有设备同时读取、同时计算各自的那一份。",
        ),
    ),
    Fault(
        "prefill_by_arithmetic_alone",
        "Takes prefill to be bound by arithmetic even where it has only a few tokens.",
        edits=[("return max(arithmetic, traffic)", "return traffic if tokens == 1 else arithmetic")],
        hint=Text(
            "You took the time of the arithmetic. A call is no faster than its arithmetic and no faster than its "
            "reading of the weights: take the larger time. Few tokens leave it bound by memory.",
            "你取了运算所用的时间。一次调用既不会比运算快，也不会比读权重快，应取较长的一个；词元很少时，它受限于访存。",
        ),
    ),
    Fault(
        "shorter_time",
        "Takes the shorter of the two times.",
        edits=[("max(arithmetic, traffic)", "min(arithmetic, traffic)")],
        hint=Text(
            "You took the shorter of the two times here. A call is no faster than its arithmetic and no faster "
            "than its reading of the weights: take the larger time.",
            "你在这里取了两个时间中较短的一个。一次调用既不会比运算快，也不会比读权重快，应取较长的一个。",
        ),
    ),
    Fault(
        "times_added",
        "Adds the two times.",
        edits=[("max(arithmetic, traffic)", "arithmetic + traffic")],
        hint=Text(
            "You added the two times. The limit assumes that they overlap perfectly: take the larger one.",
            "你把两个时间加了起来。上限假定两者完全重叠，应取较长的一个。",
        ),
    ),
    Fault(
        "multiply_adds",
        "Counts a multiplication and an addition as one operation.",
        edits=[("arithmetic = 2 * weights", "arithmetic = weights")],
        hint=Text(
            "Half of what it should be: a multiplication and an addition for each weight and token are two operations.",
            "结果只有应得的一半：每个权重、每个词元要做一次乘法和一次加法，是两次运算。",
        ),
    ),
    Fault(
        "norms_left_out",
        "Leaves the norms out, a ten-thousandth of the weights.",
        edits=[("weights = count.total", "weights = count.total - count.norm")],
    ),
]
