"""Gates on how well predicted times rank schedules of products and sums that a simulated machine has run."""

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from sysai.core.language import LANGUAGES, Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Trial

LANES, CORES, LINE = 8, 4, 16  # LINE in numbers of 4 bytes
FIRST, SECOND = 32, 128  # lines in each cache
CYCLES = {"first": 8, "second": 40, "region": 200}
PARALLEL_MEMORY = 2  # cores that together use up the memory's bandwidth
MEASURED, ASKED = 25, 20
WANTED = 0.8

Nest = dict[str, object]

# (name, for each array its axes from the slowest to the fastest; the last one is written)
KERNELS = [
    (Text("product", "矩阵乘法"), {"A": "ik", "B": "kj", "C": "ij"}),
    (Text("product with a transposed operand", "一个操作数转置的矩阵乘法"), {"A": "ik", "B": "jk", "C": "ij"}),
    (Text("sum with a transposed operand", "一个操作数转置的加法"), {"A": "ji", "B": "ij", "C": "ij"}),
    (Text("sum over rows", "按行求和"), {"A": "kij", "C": "ij"}),
]
PARTS = {
    "instructions": Text("instructions", "指令数"),
    "first": Text("misses of the first cache", "一级缓存未命中"),
    "second": Text("misses of the second cache", "二级缓存未命中"),
    "regions": Text("parallel regions", "并行区的个数"),
    "share": Text("share of the busiest core", "最忙的核心所占的份额"),
}
ROWS = {"cycles": Text("cycles", "周期数"), "predicted": Text("predicted", "预测值")} | PARTS

UPSIDE_DOWN = Text(
    "The order is upside down: the nest with the longest time has to get the largest number.",
    "次序颠倒了：时间最长的嵌套应当得到最大的数。",
)


@dataclass(frozen=True)
class Run:
    """What the machine counted: `share` is the part of the work that the busiest core does."""

    instructions: int
    first: int
    second: int
    regions: int
    share: float

    @property
    def cycles(self) -> float:
        alone = self.share * (self.instructions + CYCLES["first"] * self.first)
        memory = max(self.share, 1 / PARALLEL_MEMORY) * CYCLES["second"] * self.second
        return alone + memory + CYCLES["region"] * self.regions


def check(trial: Trial) -> None:
    nests = [nest for _, arrays in KERNELS for nest in _schedules(trial.random, arrays, MEASURED)]
    measured = [(nest, run(nest).cycles) for nest in nests]
    trial.random.shuffle(measured)
    found, worst = [], None
    for kernel, arrays in KERNELS:
        nests = _schedules(trial.random, arrays, ASKED)
        got = trial.call("predict", measured, nests)
        trial.last_call = f"predict(<{len(measured)} nests with times>, <{len(nests)} nests of a {kernel['en']}>)"
        trial.expect(
            len(got) == len(nests) and all(map(math.isfinite, got)),
            Text(f"Return {len(nests)} finite numbers.", f"应返回{len(nests)}个有限的数。"),
        )
        runs = [run(nest) for nest in nests]
        found.append(spearman(got, [each.cycles for each in runs]))
        if found[-1] == min(found):
            worst = kernel, nests, runs, got
    mean = sum(found) / len(found)
    pair, hint = _worst_pair(*worst)
    for language in LANGUAGES:
        correlations = {kernel[language]: each for (kernel, _), each in zip(KERNELS, found, strict=True)}
        pair[language] = f"{bars(correlations, width=24)}\n{pair[language]}"
    trial.picture(pair)
    trial.expect(
        mean >= WANTED,
        Text(
            f"The mean rank correlation is {mean:.2f}, and should be at least {WANTED}.",
            f"秩相关系数平均为{mean:.2f}，应当不小于{WANTED}。",
        ),
        UPSIDE_DOWN if mean < -WANTED / 2 else hint,
    )


def _worst_pair(kernel: Text, nests: list[Nest], runs: list[Run], got: list[float]) -> tuple[Text, Text]:
    """The two nests that were put into the wrong order by most: their picture, and what makes the difference."""
    pairs = [(a, b) for a in range(len(nests)) for b in range(len(nests)) if got[a] <= got[b]]
    slow, fast = max(pairs, key=lambda pair: runs[pair[0]].cycles / runs[pair[1]].cycles)
    most = min(PARTS, key=lambda part: replace(runs[slow], **{part: getattr(runs[fast], part)}).cycles)
    drawn = Text(f"put into the wrong order, of a {kernel['en']}:", f"排错次序的一对（{kernel['zh']}）：")
    for k in (slow, fast):
        loops = [f"{name} {extent} {kind}".removesuffix(" serial") for name, extent, kind in nests[k]["loops"]]
        counts = {"cycles": runs[k].cycles, "predicted": got[k]} | {part: getattr(runs[k], part) for part in PARTS}
        for language in LANGUAGES:
            rows = [f"{count:>16,.6g}  {ROWS[part][language]}" for part, count in counts.items()]
            drawn[language] = "\n".join([drawn[language], f"  {', '.join(loops)}", *rows])
    hint = Text(
        f"The two nests in the picture differ most in: {PARTS[most]['en']}. Can your features tell them apart?",
        f"图中的两个嵌套相差最大的是{PARTS[most]['zh']}。你的特征能区分它们吗？",
    )
    return drawn, hint


def _schedules(random: Random, arrays: dict[str, str], count: int) -> list[Nest]:
    """Different schedules of one kernel of one size."""
    axes = sorted({*"".join(arrays.values())})
    longest = 32 if len(axes) == 3 else 128
    sizes = {axis: 8 * random.randint(longest // 16, longest // 8) for axis in axes}
    found: dict[str, Nest] = {}
    while len(found) < count:
        nest = _schedule(random, arrays, sizes)
        found[repr(nest)] = nest
    return list(found.values())


def _schedule(random: Random, arrays: dict[str, str], sizes: dict[str, int]) -> Nest:
    loops = []  # (name, extent, axis, steps of the axis at each iteration)
    for axis, size in sizes.items():
        tile = random.choice([1, 1, *(f for f in (4, 8, 8, 16) if size % f == 0 and f < size)])
        outer, inner = (f"{axis}_0", size // tile, axis, tile), (f"{axis}_1", tile, axis, 1)
        loops += [outer, inner] if tile > 1 else [(axis, size, axis, 1)]
    random.shuffle(loops)
    if random.random() < 0.5:  # a likely schedule: tiles outside
        loops.sort(key=lambda loop: loop[3] == 1)
    kinds = ["serial"] * len(loops)
    *_, spatial = arrays.values()
    if loops[-1][1] == LANES and loops[-1][2] in spatial and random.random() < 0.8:
        kinds[-1] = "vectorized"
    outer = random.choice([0, 0, 1])
    if kinds[outer] == "serial" and loops[outer][2] in spatial and random.random() < 0.7:
        kinds[outer] = "parallel"

    def stride(order: str, axis: str) -> int:
        return math.prod(sizes[faster] for faster in order[order.index(axis) + 1 :]) if axis in order else 0

    return {
        "loops": [(name, extent, kind) for (name, extent, _, _), kind in zip(loops, kinds, strict=True)],
        "strides": {name: [stride(order, axis) * step for *_, axis, step in loops] for name, order in arrays.items()},
    }


def run(nest: Nest) -> Run:
    """What the simulated machine does: a vector instruction is one, but for elements that do not lie side by side."""
    _, extents, kinds = zip(*nest["loops"], strict=True)
    strides = list(nest["strides"].values())
    vectorized = kinds[-1] == "vectorized"
    steps = math.prod(extents) // (LANES if vectorized else 1)
    gathers = sum(vectorized and stride[-1] not in (0, 1) for stride in strides)
    instructions = steps * (1 + len(strides) - gathers + LANES * gathers)
    for depth in range(1, len(extents) + (not vectorized)):
        instructions += math.prod(extents[:depth])  # each iteration counts, compares and jumps
    indices = np.ogrid[tuple(map(slice, extents))]
    elements = [sum(step * index for step, index in zip(stride, indices, strict=True)).ravel() for stride in strides]
    lines = np.stack([(array << 32) + element // LINE for array, element in enumerate(elements)], axis=1)
    changed = np.ones(len(lines), bool)
    changed[1:] = (lines[1:] != lines[:-1]).any(axis=1)  # the same lines again move nothing, and leave the order
    first = _missed(lines[changed].ravel().tolist(), FIRST)
    share, regions = 1.0, 0
    if "parallel" in kinds:
        depth = kinds.index("parallel")
        share = math.ceil(extents[depth] / CORES) / extents[depth]
        regions = math.prod(extents[:depth])
    return Run(instructions, len(first), len(_missed(first, SECOND)), regions, share)


def _missed(lines: list[int], capacity: int) -> list[int]:
    """The lines that are not there when they are used, in a cache that keeps what was used last."""
    cache, missed = OrderedDict(), []
    for line in lines:
        if line in cache:
            cache.move_to_end(line)
            continue
        missed.append(line)
        cache[line] = None
        if len(cache) > capacity:
            cache.popitem(last=False)
    return missed


def spearman(a: list[float], b: list[float]) -> float:
    """The correlation of ranks; equal values share the mean of their ranks."""
    x, y = (np.sign(np.subtract.outer(v, v)).sum(axis=1) for v in np.array([a, b], float))  # twice the rank, centred
    scale = math.sqrt((x @ x) * (y @ y))
    return float(x @ y) / scale if scale else 0.0
