"""Gates on how well predicted times rank schedules of products and sums that a simulated machine has run."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Trial

LANES, CORES, LINE = 8, 4, 16  # LINE in numbers of 4 bytes
FIRST, SECOND = 32, 128  # lines in each cache
CYCLES = {"first": 8, "second": 40, "region": 200}
PARALLEL_MEMORY = 2  # cores that together use up the memory's bandwidth
MEASURED, ASKED = 25, 20
WANTED = 0.8

Nest = dict[str, object]

# kernel: (axes, for each array its axes from the slowest to the fastest; the last one is written)
KERNELS = {
    "product": ("ijk", {"A": "ik", "B": "kj", "C": "ij"}),
    "product with a transposed operand": ("ijk", {"A": "ik", "B": "jk", "C": "ij"}),
    "sum with a transposed operand": ("ij", {"A": "ji", "B": "ij", "C": "ij"}),
    "sum over rows": ("ijk", {"A": "kij", "C": "ij"}),
}
KERNEL_NAMES = dict(
    zip(KERNELS, ("矩阵乘法", "一个操作数转置的矩阵乘法", "一个操作数转置的加法", "按行求和"), strict=True)
)


PARTS = {
    "instructions": Text("instructions", "指令数"),
    "first": Text("misses of the first cache", "一级缓存未命中"),
    "second": Text("misses of the second cache", "二级缓存未命中"),
    "regions": Text("parallel regions", "并行区的个数"),
    "share": Text("share of the busiest core", "最忙的核所占的份额"),
}


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
    measured = [(nest, run(nest).cycles) for kernel in KERNELS for nest in _schedules(trial, kernel, MEASURED)]
    trial.random.shuffle(measured)
    found, lines, hint = {}, [], None
    for kernel in KERNELS:
        nests = _schedules(trial, kernel, ASKED)
        got = trial.call("predict", measured, nests)
        trial.last_call = f"predict(<{len(measured)} nests with times>, <{len(nests)} nests of {kernel}>)"
        trial.expect(
            type(got) is list and len(got) == len(nests) and all(type(x) is float and math.isfinite(x) for x in got),
            Text(f"Return {len(nests)} finite floats.", f"应返回{len(nests)}个有限的浮点数。"),
        )
        runs = [run(nest) for nest in nests]
        found[kernel] = spearman(got, [each.cycles for each in runs])
        if found[kernel] == min(found.values()):
            lines, hint = _worst_pair(kernel, nests, runs, got)
    mean = sum(found.values()) / len(found)
    chinese = {KERNEL_NAMES[kernel]: correlation for kernel, correlation in found.items()}
    trial.picture(
        Text("\n".join([bars(found, width=24), *lines["en"]]), "\n".join([bars(chinese, width=24), *lines["zh"]]))
    )
    upside_down = Text(
        "The order is upside down: the nest with the longest time has to get the largest number.",
        "次序颠倒了：时间最长的嵌套应当得到最大的数。",
    )
    trial.expect(
        mean >= WANTED,
        Text(
            f"The mean rank correlation is {mean:.2f}, and should be at least {WANTED}.",
            f"秩相关系数平均为{mean:.2f}，应当不小于{WANTED}。",
        ),
        upside_down if mean < -WANTED / 2 else hint,
    )


def _worst_pair(kernel: str, nests: list[Nest], runs: list[Run], got: list[float]) -> tuple[dict, dict]:
    """The two nests that were put into the wrong order by most: their picture, and in what they differ most."""
    pairs = [(a, b) for a in range(len(nests)) for b in range(len(nests)) if got[a] <= got[b]]
    slow, fast = max(pairs, key=lambda pair: runs[pair[0]].cycles / runs[pair[1]].cycles)
    ratios = {part: (getattr(runs[slow], part) + 1e-3) / (getattr(runs[fast], part) + 1e-3) for part in PARTS}
    ratios["regions"] = (CYCLES["region"] * runs[slow].regions + runs[fast].cycles) / runs[fast].cycles
    most = max(ratios, key=ratios.get)
    lines = Text([f"put into the wrong order, of {kernel}:"], [f"排错次序的一对（{KERNEL_NAMES[kernel]}）："])
    for k in (slow, fast):
        loops = [f"{name} {extent} {kind}".removesuffix(" serial") for name, extent, kind in nests[k]["loops"]]
        cycles, predicted = f"{runs[k].cycles:,.0f}", f"{got[k]:.6g}"
        lines["en"] += [f"  {', '.join(loops)}", f"    took {cycles} cycles, predicted {predicted}"]
        lines["zh"] += [f"  {', '.join(loops)}", f"    用了{cycles}个周期，预测{predicted}"]
        for part, words in PARTS.items():
            count = f"{getattr(runs[k], part):,.6g}"
            lines["en"].append(f"    {words['en']}: {count}")
            lines["zh"].append(f"    {words['zh']}：{count}")
    hint = Text(
        f"The two nests in the picture differ most in: {PARTS[most]['en']}. Can your features tell them apart?",
        f"图中的两个嵌套相差最大的是{PARTS[most]['zh']}。你的特征能区分它们吗？",
    )
    return lines, hint


def _schedules(trial: Trial, kernel: str, count: int) -> list[Nest]:
    """Different schedules of one kernel of one size."""
    random = trial.random
    axes, arrays = KERNELS[kernel]
    longest = 32 if len(axes) == 3 else 128
    sizes = {axis: 8 * random.randint(longest // 16, longest // 8) for axis in axes}
    found: dict[str, Nest] = {}
    while len(found) < count:
        nest = _schedule(random, axes, arrays, sizes)
        found[repr(nest)] = nest
    return list(found.values())


def _schedule(random, axes: str, arrays: dict[str, str], sizes: dict[str, int]) -> Nest:
    strides = {
        name: {axis: math.prod(sizes[a] for a in order[place + 1 :]) for place, axis in enumerate(order)}
        for name, order in arrays.items()
    }
    loops = []  # (name, extent, axis, steps of the axis at each iteration)
    for axis in axes:
        size = sizes[axis]
        tile = random.choice([1, 1, *(f for f in (4, 8, 8, 16) if size % f == 0 and f < size)])
        loops.append((f"{axis}_0" if tile > 1 else axis, size // tile, axis, tile))
        if tile > 1:
            loops.append((f"{axis}_1", tile, axis, 1))
    random.shuffle(loops)
    if random.random() < 0.5:  # a likely schedule: tiles outside
        loops.sort(key=lambda loop: loop[3] == 1)
    kinds = ["serial"] * len(loops)
    spatial = list(arrays.values())[-1]
    if loops[-1][1] == LANES and loops[-1][2] in spatial and random.random() < 0.8:
        kinds[-1] = "vectorized"
    outer = random.choice([0, 0, 1])
    if kinds[outer] == "serial" and loops[outer][2] in spatial and random.random() < 0.7:
        kinds[outer] = "parallel"
    return {
        "loops": [(name, extent, kind) for (name, extent, _, _), kind in zip(loops, kinds, strict=True)],
        "strides": {name: [strides[name].get(axis, 0) * step for _, _, axis, step in loops] for name in arrays},
    }


def run(nest: Nest) -> Run:
    """What the simulated machine does: a vector instruction is one, but for elements that do not lie side by side."""
    extents = [extent for _, extent, _ in nest["loops"]]
    kinds = [kind for _, _, kind in nest["loops"]]
    strides = list(nest["strides"].values())
    vectorized = kinds[-1] == "vectorized"
    steps = math.prod(extents) // (LANES if vectorized else 1)
    gathers = sum(vectorized and stride[-1] not in (0, 1) for stride in strides)
    instructions = steps * (1 + len(strides) - gathers + LANES * gathers)
    for depth in range(1, len(extents) + (not vectorized)):
        instructions += math.prod(extents[:depth])  # each iteration counts, compares and jumps
    first, second = _misses(extents, strides)
    share, regions = 1.0, 0
    if "parallel" in kinds:
        depth = kinds.index("parallel")
        share = math.ceil(extents[depth] / CORES) / extents[depth]
        regions = math.prod(extents[:depth])
    return Run(instructions, first, second, regions, share)


def _misses(extents: list[int], strides: list[list[int]]) -> tuple[int, int]:
    """Of two caches, one behind the other, fully associative, that keep what was used last."""
    places = []
    for array, stride in enumerate(strides):
        address = np.zeros(1, np.int64)
        for extent, step in zip(extents, stride, strict=True):
            address = (address[:, None] + step * np.arange(extent)).ravel()
        places.append((array << 32) + address // LINE)
    lines = np.stack(places, axis=1)
    changed = np.ones(len(lines), bool)
    changed[1:] = (lines[1:] != lines[:-1]).any(axis=1)  # the same lines again move nothing, and leave the order
    first, second = OrderedDict(), OrderedDict()
    missed = [0, 0]
    for line in lines[changed].ravel().tolist():
        if line in first:
            first.move_to_end(line)
            continue
        missed[0] += 1
        first[line] = None
        if len(first) > FIRST:
            first.popitem(last=False)
        if line in second:
            second.move_to_end(line)
            continue
        missed[1] += 1
        second[line] = None
        if len(second) > SECOND:
            second.popitem(last=False)
    return missed[0], missed[1]


def spearman(a: list[float], b: list[float]) -> float:
    """The correlation of ranks; equal values share the mean of their ranks."""
    x, y = (_ranks(values) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else 0.0


def _ranks(values: list[float]) -> np.ndarray:
    array = np.array(values)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return below + (equal - 1) / 2
