"""Gates on bytes, exactly, and on the bound of the speed-up, on random chains whose operands are broadcast."""

from math import prod

from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Hint, Trial

BYTES = Text("bytes", "字节")
TIMES = Text("times faster", "倍")
OVERWRITTEN = "running"

Shapes = dict[str, tuple[int, int]]
Chain = list[list[str]]


def check(trial: Trial) -> None:
    shapes = {"x": (4096, 1024), "bias": (1, 1024), "residual": (4096, 1024), "gain": (1, 1024), "shift": (1, 1024)}
    chain = [["bias"], [], ["residual"], ["gain", "shift"]]
    _check(trial, shapes, chain, 4, [1, 20, 1, 8], 20e9, 100e9)
    for _ in range(20):
        _check_random(trial)


def _check_random(trial: Trial) -> None:
    random = trial.random
    rows, columns = random.randint(2, 4000), random.randint(2, 4000)
    kinds = [(rows, columns), (1, columns), (rows, 1), (1, 1)]
    shapes = {"x": (rows, columns)} | {f"t{k}": random.choice(kinds) for k in range(4)} | {"unused": (rows, columns)}
    operands = [name for name in shapes if name != "unused"]
    chain = [random.choices(operands, k=random.choice([0, 1, 1, 2])) for _ in range(random.randint(2, 5))]
    chain[random.randrange(1, len(chain))] = ["x", "t0"]  # a residual connection
    chain[0] = ["t1", *chain[0]]
    size, bandwidth = random.choice([1, 2, 4, 8]), random.randint(10, 50)  # GB/s
    flops = [random.randint(1, 30) for _ in chain]
    operations_a_byte = sum(flops) / (size * random.uniform(1.5, 12))  # the fused kernel moves some 2 to 7 elements
    peak = max(1, round(bandwidth * operations_a_byte))
    _check(trial, shapes, chain, size, flops, bandwidth * 1e9, peak * 1e9)


def _check(
    trial: Trial, shapes: Shapes, chain: Chain, size: int, flops: list[int], bandwidth: float, peak: float
) -> None:
    kernels = [_kernel(shapes, ["x" if k == 0 else OVERWRITTEN, *operands], size) for k, operands in enumerate(chain)]
    got = trial.call("eager_bytes", shapes, chain, element_bytes=size)
    trial.picture(_picture(kernels))
    trial.expect_equal(got, sum(kernels), unit=BYTES, hints=_eager_hints(shapes, chain, size))
    named = [name for operands in chain for name in operands]
    fused = _kernel(shapes, ["x", *named], size)
    got = trial.call("fused_bytes", shapes, chain, element_bytes=size)
    trial.expect_equal(got, fused, unit=BYTES, hints=_fused_hints(shapes, chain, size))
    got = trial.call("speed_up", shapes, chain, element_bytes=size, flops=flops, bandwidth=bandwidth, peak=peak)
    elements = prod(shapes["x"])
    seconds = [max(moved / bandwidth, count * elements / peak) for moved, count in zip(kernels, flops, strict=True)]
    together = max(fused / bandwidth, sum(flops) * elements / peak)
    whole = max(sum(kernels) / bandwidth, sum(flops) * elements / peak)
    hints = [
        Hint(
            sum(kernels) / fused,
            Text(
                "This is the ratio of bytes. It is the bound only where all kernels are bound by memory: a kernel "
                "takes "
                "the larger of its two times.",
                "这是字节数之比。只有所有内核都受访存限制时，它才是上限：一个内核的时间是两个时间中较大的那个。",
            ),
        ),
        Hint(
            whole / together,
            Text(
                "You took the larger of the two times once, for all kernels together. One kernel may be bound by "
                "memory "
                "and the next by arithmetic: take it for each, then add.",
                "你只对所有内核的总和取了一次较大值。可能这个内核受访存限制，下一个却受计算限制：应当逐个取，再相加。",
            ),
        ),
        Hint(
            together / sum(seconds),
            Text(
                "This is the fused time over the eager time: the ratio is upside down.",
                "这是融合后的时间除以即时执行的时间：分子分母颠倒了。",
            ),
        ),
    ]
    trial.expect_close(got, sum(seconds) / together, rel=1e-9, unit=TIMES, hints=hints)


def _kernel(shapes: Shapes, read: list[str], size: int) -> int:
    """Bytes of a kernel that reads these, each once, and writes a tensor of the shape of x."""
    sizes = {name: size * prod(shape) for name, shape in shapes.items()}
    return sum(sizes["x" if name == OVERWRITTEN else name] for name in set(read)) + sizes["x"]


def _eager_hints(shapes: Shapes, chain: Chain, size: int) -> list[Hint]:
    full = size * prod(shapes["x"])
    operands = [[size * prod(shapes[name]) for name in set(step)] for step in chain]
    twice = sum(2 * full + size * sum(prod(shapes[name]) for name in step) for step in chain)
    return [
        Hint(
            sum(2 * full + full * len(step) for step in operands),
            Text(
                "You counted every operand as if it had the shape of x. One that is broadcast has fewer elements in "
                "memory, and the cache holds it.",
                "你把每个操作数都按`x`的形状计了。要广播的操作数在内存里没有那么多元素，它留在缓存里。",
            ),
        ),
        Hint(
            sum(full + sum(step) for step in operands),
            Text(
                "The results are missing, or the running tensors: each kernel reads one and writes one.",
                "漏了写出的结果，或者漏了读入的当前张量：每个内核都读一个、写一个。",
            ),
        ),
        Hint(
            twice,
            Text(
                "A kernel that takes a tensor twice reads it from memory once. Look at an operator with the same "
                "operand twice, and at a first operator that takes x.",
                "一个内核两次用到同一个张量，也只从内存读一次。请看操作数重复的算子，以及又用到`x`的第一个算子。",
            ),
        ),
    ]


def _fused_hints(shapes: Shapes, chain: Chain, size: int) -> list[Hint]:
    full = size * prod(shapes["x"])
    named = [name for step in chain for name in step]
    each = 2 * full + size * sum(prod(shapes[name]) for name in named)
    everything = full + size * sum(prod(shape) for shape in shapes.values())
    others = 2 * full + size * sum(prod(shapes[name]) for name in {*named})
    return [
        Hint(
            each,
            Text(
                "A tensor that several operators take was counted each time. The fused kernel reads it once; that may "
                "be x itself, in a residual connection.",
                "几个算子都用到的张量，你每次都计了。融合后的内核只读一次；残差连接中的`x`本身也是如此。",
            ),
        ),
        Hint(
            others,
            Text(
                "x was read at the beginning. An operator that takes x again finds it in the cache.",
                "`x`在开头已经读过。后面的算子再用到`x`，它就在缓存里。",
            ),
        ),
        Hint(
            everything,
            Text("`shapes` holds a tensor that no operator takes.", "`shapes`里有一个哪个算子都没有用到的张量。"),
        ),
        Hint(
            sum(_kernel(shapes, [OVERWRITTEN, *step], size) for step in chain),
            Text(
                "This is what the kernels move one by one. What is between them does not reach memory any more.",
                "这是各个内核分别搬运的总和。融合之后，中间结果不再经过内存。",
            ),
        ),
    ]


def _picture(kernels: list[int]) -> dict[str, str]:
    names = Text("kernel {}, MB", "内核{}，MB")
    return {
        language: bars({name.format(k): moved / 1e6 for k, moved in enumerate(kernels)})
        for language, name in names.items()
    }
