"""Gates on bytes that values share while both are needed, on alignment, and on the peak, on random graphs."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Case:
    """A graph, and when its values are needed: from `first` to `last`, both included."""

    kernels: list[tuple[str, list[str]]]
    sizes: dict[str, int]
    outputs: list[str]

    @property
    def first(self) -> dict[str, int]:
        return {made: step for step, (made, _) in enumerate(self.kernels)}

    @property
    def last(self) -> dict[str, int]:
        end = len(self.kernels) - 1
        reads = {made: [s for s, (_, names) in enumerate(self.kernels) if made in names] for made in self.sizes}
        return {made: end if made in self.outputs else max([self.first[made], *reads[made]]) for made in self.sizes}

    @property
    def room(self) -> dict[str, int]:
        return {name: (size + LINE - 1) // LINE * LINE for name, size in self.sizes.items()}

    def live(self) -> int:
        """Most bytes that are needed at once."""
        first, last, room = self.first, self.last, self.room
        return max(sum(room[n] for n in room if first[n] <= s <= last[n]) for s in range(len(self.kernels)))

    def peak(self, offsets: dict[str, int]) -> int:
        return max(offsets[name] + size for name, size in self.sizes.items())

    def greedy(self, order: list[str], snug: bool) -> dict[str, int]:
        """Each value, in this order, into the first gap that is large enough, or the smallest."""
        first, last, room, offsets = self.first, self.last, self.room, {}
        for name in order:
            others = [o for o in offsets if first[o] <= last[name] and first[name] <= last[o]]
            gaps = []
            for start in sorted({0, *(offsets[o] + room[o] for o in others)}):
                ends = [offsets[o] for o in others if offsets[o] >= start]
                inside = any(offsets[o] < start < offsets[o] + room[o] for o in others)
                width = min(ends) - start if ends else float("inf")
                if width >= room[name] and not inside:
                    gaps.append((width if snug else 0, start))
            offsets[name] = min(gaps)[1]
        return offsets


def check(trial: Trial) -> None:
    line = {name: LINE * count for name, count in zip("abcd", (24, 40, 8, 32), strict=True)}
    _check(trial, Case([("a", ["x"]), ("b", ["a"]), ("c", ["b"]), ("d", ["c"])], line, ["d"]))
    for _ in range(12):
        _check(trial, _instructive_case(trial))


def _instructive_case(trial: Trial) -> Case:
    """One on which placing in the order of the kernels misses the target, and placing large values first does not."""
    while True:
        case = _random_case(trial)
        limit, names = 1.05 * case.live(), list(case.sizes)
        by_size = sorted(names, key=case.room.get, reverse=True)
        reached = all(case.peak(case.greedy(by_size, snug)) <= 1.03 * case.live() for snug in (True, False))
        if reached and min(case.peak(case.greedy(names, snug)) for snug in (True, False)) > limit:
            return case


def _random_case(trial: Trial) -> Case:
    random = trial.random
    names = [chr(ord("a") + k) for k in range(random.randint(10, 22))]
    kernels = []
    for k, name in enumerate(names):
        recent = names[max(0, k - 8) : k]
        reads = random.sample(recent, min(len(recent), random.choice([0, 1, 1, 2])))
        kernels.append((name, sorted({*reads, *names[k - 1 : k]} if random.random() < 0.6 and k else reads or ["x"])))
    choices = (random.randint(1, 4 * LINE), random.randint(LINE, 40 * LINE), random.choice([16, 32, 64]) * LINE)
    sizes = {name: random.choice((*choices, random.randint(1, 64 * LINE))) for name in names}
    return Case(kernels, sizes, sorted({names[-1], *random.sample(names, 2)}))


def _check(trial: Trial, case: Case) -> None:
    got = trial.call("plan", case.kernels, case.sizes, outputs=case.outputs)
    trial.expect_type(got, dict)
    trial.expect(
        got.keys() == case.sizes.keys() and all(type(offset) is int and offset >= 0 for offset in got.values()),
        Text(
            f"Return an offset, an int of at least 0, for each of {', '.join(case.sizes)}.",
            f"应为{'、'.join(case.sizes)}各返回一个偏移，即不小于0的整数。",
        ),
    )
    trial.picture(_picture(case, got))
    crooked = next((name for name, offset in got.items() if offset % LINE), None)
    trial.expect(
        crooked is None,
        Text(
            f"The offset of {crooked}, {got.get(crooked)}, is no multiple of {LINE}.",
            f"{crooked}的偏移{got.get(crooked)}不是{LINE}的倍数。",
        ),
        Text(
            "Round the bytes of each value up to whole cache lines before you place the next one after it.",
            "先把每个值的字节数向上取整到整数个缓存行，再在它后面放下一个。",
        ),
    )
    _check_apart(trial, case, got)
    trial.expect_at_most(
        case.peak(got), int(1.05 * case.live()), what=PEAK, unit=BYTES, hints=[Hint(lambda _: True, GAP)]
    )


def _check_apart(trial: Trial, case: Case, offsets: dict[str, int]) -> None:
    first, last, names = case.first, case.last, list(case.sizes)
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :] if first[b] <= last[a]]
    for a, b in pairs:
        low = max(offsets[a], offsets[b])
        high = min(offsets[a] + case.sizes[a], offsets[b] + case.sizes[b])
        message = Text(
            f"{a} and {b} share bytes {low} to {high - 1}, and both are needed while the kernel of {b} runs.",
            f"{a}和{b}共用第{low}到{high - 1}字节，而产生{b}的内核运行时两者都要用。",
        )
        trial.expect(low >= high, message, _why_needed(case, a, b))


def _why_needed(case: Case, a: str, b: str) -> Text:
    reads = dict(case.kernels)[b]
    if a in reads:
        return Text(
            f"The kernel of {b} reads {a}. While it writes {b}, it still needs {a}: a value lives up to its last "
            "reader, that one included.",
            f"产生{b}的内核要读{a}。它在写{b}时仍然需要{a}：一个值存活到最后一个读它的内核，这个内核也算在内。",
        )
    if a in case.outputs:
        return Text(
            f"{a} is an output of the graph: it must still be there after the last kernel.",
            f"{a}是图的输出：最后一个内核运行完之后它仍要在。",
        )
    reader = next(made for made, names in reversed(case.kernels) if a in names)
    return Text(f"{a} is read by the kernel of {reader}.", f"产生{reader}的内核还要读{a}。")


def _picture(case: Case, offsets: dict[str, int]) -> Text:
    """A line a kernel, the arena from left to right; where two values lie, #."""
    first, last = case.first, case.last
    step = max(case.peak(offsets), 1) / COLUMNS
    rows = []
    for number, (made, _) in enumerate(case.kernels):
        row = ["·"] * COLUMNS
        for name in case.sizes:
            if first[name] <= number <= last[name]:
                begin, end = offsets[name], offsets[name] + case.sizes[name]
                for column in range(COLUMNS):
                    if begin <= (column + 0.5) * step < end:
                        row[column] = "#" if row[column] != "·" else name
        rows.append(f"{made}  {''.join(row)}")
    table = "\n".join(rows)
    return Text(
        f"kernels from top to bottom, the arena from left to right; · free, # two values\n{table}",
        f"从上到下是各个内核，从左到右是整个内存区；· 空闲，# 有两个值\n{table}",
    )
