"""Gates on bytes that values share while both are needed, on alignment, and on the peak, on random graphs."""

import math
from itertools import combinations
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

LINE = 64
COLUMNS = 60
BYTES = Text("bytes", "字节")
PEAK = Text("bytes at the peak", "峰值字节数")
GAP = Text(
    "Look for the widest stretch of dots in the picture: it is free while others lie above it. Another order of "
    "placing, or a choice between gaps, may fill it.",
    "请在图中找最宽的一段点：上面压着别的值，它却空着。换一种放置次序，或在几个空隙之间作选择，也许能填上它。",
)


class Case:
    """A graph of kernels (value that it makes, values that it reads); `needed` are the kernels that need each value."""

    def __init__(self, kernels: list[tuple[str, list[str]]], sizes: dict[str, int], outputs: list[str]):
        self.kernels, self.sizes, self.outputs = kernels, sizes, outputs
        last = {name: step for step, (made, reads) in enumerate(kernels) for name in (made, *reads)}
        last |= dict.fromkeys(outputs, len(kernels) - 1)
        self.needed = {made: range(step, last[made] + 1) for step, (made, _) in enumerate(kernels)}
        self.room = {name: -(-size // LINE) * LINE for name, size in sizes.items()}

    def meet(self, a: str, b: str) -> bool:
        return not set(self.needed[a]).isdisjoint(self.needed[b])

    def live(self) -> int:
        """Most bytes that are needed at once."""
        steps = range(len(self.kernels))
        return max(sum(self.room[name] for name in self.room if step in self.needed[name]) for step in steps)

    def peak(self, offsets: dict[str, int]) -> int:
        return max(offsets[name] + size for name, size in self.sizes.items())

    def placed(self, order: list[str], snug: bool) -> dict[str, int]:
        """Each value, in this order, in the first gap that is large enough, or in the smallest."""
        offsets: dict[str, int] = {}
        for name in order:
            others = [other for other in offsets if self.meet(other, name)]
            gaps, end = [], 0
            for low, other in [*sorted((offsets[other], other) for other in others), (math.inf, name)]:
                if low - end >= self.room[name]:
                    gaps.append((low - end, end))
                end = max(end, low + self.room[other])
            offsets[name] = (min(gaps) if snug else gaps[0])[1]
        return offsets

    def is_instructive(self) -> bool:
        """Whether placing in the order of the kernels misses the target, and placing large values first does not."""
        large_first, in_order = (
            [self.peak(self.placed(order, snug)) for snug in (True, False)]
            for order in (sorted(self.sizes, key=self.room.get, reverse=True), list(self.sizes))
        )
        return max(large_first) <= 1.03 * self.live() and min(in_order) > 1.05 * self.live()


def check(trial: Trial) -> None:
    sizes = {"a": 24 * LINE, "b": 40 * LINE, "c": 8 * LINE, "d": 32 * LINE}
    _check(trial, Case([("a", ["x"]), ("b", ["a"]), ("c", ["b"]), ("d", ["c"])], sizes, ["d"]))
    for _ in range(12):
        case = _random_case(trial.random)
        while not case.is_instructive():
            case = _random_case(trial.random)
        _check(trial, case)


def _random_case(random: Random) -> Case:
    names = "abcdefghijklmnopqrstuv"[: random.randint(10, 22)]
    kernels = []
    for k, name in enumerate(names):
        recent = names[max(0, k - 8) : k]
        reads = random.sample(recent, min(len(recent), random.choice([0, 1, 1, 2])))
        if random.random() < 0.6:
            reads += recent[-1:]
        kernels.append((name, sorted({*reads}) or ["x"]))
    choices = (random.randint(1, 4 * LINE), random.randint(LINE, 40 * LINE), random.choice([16, 32, 64]) * LINE)
    sizes = {name: random.choice((*choices, random.randint(1, 64 * LINE))) for name in names}
    return Case(kernels, sizes, sorted({names[-1], *random.sample(names, 2)}))


def _check(trial: Trial, case: Case) -> None:
    got = trial.call("plan", case.kernels, case.sizes, outputs=case.outputs)
    trial.expect(
        got.keys() == case.sizes.keys() and min(got.values()) >= 0,
        Text(
            f"Return an offset of at least 0 for each of {', '.join(case.sizes)}.",
            f"应为{'、'.join(case.sizes)}各返回一个不小于0的偏移。",
        ),
    )
    trial.picture(_picture(case, got))
    crooked = [name for name, offset in got.items() if offset % LINE]
    trial.expect(
        not crooked,
        Text(
            f"Offsets must be multiples of {LINE}, and those of {', '.join(crooked)} are not. Round the bytes of each "
            "value up to whole cache lines before you place the next one after it.",
            f"{'、'.join(crooked)}的偏移不是{LINE}的倍数。应先把每个值的字节数向上取整到整数个缓存行，再在它后面放下一个。",
        ),
    )
    for a, b in combinations(case.sizes, 2):
        low, high = max(got[a], got[b]), min(got[a] + case.sizes[a], got[b] + case.sizes[b])
        message = Text(
            f"{a} and {b} share bytes {low} to {high - 1}, and both are needed while the kernel of {b} runs.",
            f"{a}和{b}共用第{low}到{high - 1}字节，而产生{b}的内核运行时两者都要用。",
        )
        trial.expect(low >= high or not case.meet(a, b), message, _why_needed(case, a))
    limit = int(1.05 * case.live())
    trial.expect_at_most(case.peak(got), limit, what=PEAK, unit=BYTES, hints=[Hint(lambda _: True, GAP)])


def _why_needed(case: Case, name: str) -> Text:
    if name in case.outputs:
        return Text(
            f"{name} is an output of the graph: it must still be there after the last kernel.",
            f"{name}是图的输出：最后一个内核运行完之后它仍要在。",
        )
    reader, _ = case.kernels[case.needed[name][-1]]
    return Text(
        f"The kernel of {reader} reads {name}. While it writes {reader}, it still needs {name}: a value lives up to "
        "its last reader, that one included.",
        f"产生{reader}的内核要读{name}。它在写{reader}时仍然需要{name}：一个值存活到最后一个读它的内核，"
        "这个内核也算在内。",
    )


def _picture(case: Case, offsets: dict[str, int]) -> Text:
    """A line a kernel, the arena from left to right; where two values lie, #."""
    step = max(case.peak(offsets), 1) / COLUMNS
    lines = []
    for number, (made, _) in enumerate(case.kernels):
        live = [name for name in case.sizes if number in case.needed[name]]
        line = ""
        for place in ((column + 0.5) * step for column in range(COLUMNS)):
            here = [name for name in live if offsets[name] <= place < offsets[name] + case.sizes[name]]
            line += "·" if not here else here[0] if len(here) == 1 else "#"
        lines.append(f"{made}  {line}")
    table = "\n".join(lines)
    return Text(
        f"kernels from top to bottom, the arena from left to right; · free, # two values\n{table}",
        f"从上到下是各个内核，从左到右是整个静态内存池；· 空闲，# 有两个值\n{table}",
    )
