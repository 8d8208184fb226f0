"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

KERNEL = 'sum(sizes[name] for name in {"running" if k else "x", *operands}) + sizes["x"]'
FUSED = 'return element_bytes * (sum(prod(shapes[name]) for name in read) + prod(shapes["x"]))'
NAMED = "(name for operands in chain for name in operands)"
EAGER = "eager = sum(max(moved / bandwidth, count * elements / peak) for moved, count in kernels)"
RATIO = "return eager / fused"

FAULTS = [
    Fault(
        "operands_as_large_as_x",
        "Counts a broadcast operand as if it had the shape of x.",
        edits=[(KERNEL, 'sizes["x"] * (2 + len(set(operands)))')],
        hint=Text(
            "You counted every operand as if it had the shape of x. One that is broadcast has fewer elements in "
            "memory, and the cache holds it.",
            "你把每个操作数都按`x`的形状计了。要广播的操作数在内存里没有那么多元素，它留在CPU缓存里。",
        ),
    ),
    Fault(
        "results_missing",
        "Counts what kernels read, and not what they write.",
        edits=[(KERNEL, KERNEL.removesuffix(' + sizes["x"]'))],
        hint=Text(
            "The results are missing, or the running tensors: each kernel reads one and writes one.",
            "漏了写出的结果，或者漏了读入的当前张量：每个内核都读一个、写一个。",
        ),
    ),
    Fault(
        "operand_read_twice",
        "Lets a kernel read a tensor twice that it takes twice.",
        edits=[(KERNEL, 'sum(sizes[name] for name in operands) + 2 * sizes["x"]')],
        hint=Text(
            "A kernel that takes a tensor twice reads it from memory once. Look at an operator with the same "
            "operand twice, and at a first operator that takes x.",
            "一个内核两次用到同一个张量，也只从内存读一次。请看操作数重复的算子，以及又用到`x`的第一个算子。",
        ),
    ),
    Fault(
        "residual_read_again",
        "Lets the fused kernel read a tensor once for every operator that takes it.",
        edits=[(f'read = {{"x", *{NAMED}}}', f'read = ["x", *{NAMED}]')],
        hint=Text(
            "A tensor that several operators take was counted each time. The fused kernel reads it once; that may "
            "be x itself, in a residual connection.",
            "几个算子都用到的张量，你每次都计了。融合后的内核只读一次；残差连接中的`x`本身也是如此。",
        ),
    ),
    Fault(
        "x_read_again",
        "Lets the fused kernel read x anew where an operator takes it again.",
        edits=[(f'read = {{"x", *{NAMED}}}', f'read = ["x", *{{*{NAMED}}}]')],
        hint=Text(
            "x was read at the beginning. An operator that takes x again finds it in the cache.",
            "`x`在开头已经读过。后面的算子再用到`x`，它就在CPU缓存里。",
        ),
    ),
    Fault(
        "unused_tensors_read",
        "Reads every tensor that `shapes` names.",
        edits=[(f'read = {{"x", *{NAMED}}}', "read = shapes")],
        hint=Text("`shapes` holds a tensor that no operator takes.", "`shapes`里有一个张量，没有任何算子用到它。"),
    ),
    Fault(
        "nothing_fused",
        "Takes the bytes of the kernels one by one for those of the fused one.",
        edits=[(FUSED, "return eager_bytes(shapes, chain, element_bytes)")],
        hint=Text(
            "This is what the kernels move one by one. What is between them does not reach memory any more.",
            "这是各个内核分别搬运的总和。融合之后，中间结果不再经过内存。",
        ),
    ),
    Fault(
        "ratio_of_bytes",
        "Takes the ratio of bytes for the speed-up, whatever the arithmetic costs.",
        edits=[(RATIO, "return eager_bytes(shapes, chain, element_bytes) / fused_bytes(shapes, chain, element_bytes)")],
        hint=Text(
            "This is the ratio of bytes. It is the bound only where all kernels are bound by memory: a kernel takes "
            "the larger of its two times.",
            "这是字节数之比。只有所有内核都受访存限制时，它才是上限：一个内核的时间是两个时间中较大的那个。",
        ),
    ),
    Fault(
        "larger_time_of_the_sum",
        "Compares the eager kernels with the roofline together instead of one by one.",
        edits=[
            (EAGER, "eager = max(sum(m for m, _ in kernels) / bandwidth, sum(flops) * elements / peak)"),
        ],
        hint=Text(
            "You took the larger of the two times once, for all kernels together. One kernel may be bound by memory "
            "and the next by arithmetic: take it for each, then add.",
            "你只对所有内核的总和取了一次较大值。可能这个内核受访存限制，下一个却受计算限制：应当逐个取，再相加。",
        ),
    ),
    Fault(
        "upside_down",
        "Divides the fused time by the eager time.",
        edits=[(RATIO, "return fused / eager")],
        hint=Text(
            "This is the fused time over the eager time: the ratio is upside down.",
            "这是融合后的时间除以即时执行的时间：分子分母颠倒了。",
        ),
    ),
    Fault("rounded", "Rounds the speed-up to six digits.", edits=[(RATIO, "return round(eager / fused, 6)")]),
]
