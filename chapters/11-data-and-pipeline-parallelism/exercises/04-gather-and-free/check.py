"""Gates on order, prefetch, peak bytes of whole weights, gradients held, and gathers; any number of unequal units."""

from itertools import pairwise

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

MB = Text("MB", "MB")
GATHERS = Text("gathers", "收集的次数")
PEAK = Text("megabytes of whole weights at once", "同时存在的完整权重（MB）")


def check(trial: Trial) -> None:
    _check(trial, [100, 100, 100, 100])
    for _ in range(8):
        _check(trial, [trial.random.randint(20, 200) for _ in range(trial.random.randint(3, 9))])
    _check(trial, [30, 50])
    _check(trial, [70])


def _check(trial: Trial, sizes: list[int]) -> None:
    device = Device(trial, sizes)
    names = ("gather", "free", "forward", "backward", "reduce")
    trial.call("run_step", len(sizes), **{name: trial.callback(getattr(device, name)) for name in names})
    device.draw()
    device.check_end()
    count, pair = len(sizes), max(map(sum, pairwise(sizes)), default=sizes[0])
    three = max(map(sum, zip(sizes, sizes[1:], sizes[2:], strict=False)), default=0)
    everything = Hint(
        sum(sizes),
        Text(
            "At one moment all units were whole. Free a unit when its forward pass is over: its backward pass is "
            "far away.",
            "某一时刻所有单元的权重都是完整的。一个单元前向传播结束就应释放：它的反向传播还早着呢。",
        ),
    )
    late = Hint(
        three,
        Text(
            "Three neighbouring units were whole at once. Free the unit that has computed before you gather the one "
            "after the next.",
            "三个相邻单元同时是完整的。应先释放算完的单元，再收集下下个单元。",
        ),
    )
    trial.expect_at_most(device.peak, pair, what=PEAK, unit=MB, hints=[late, everything])
    last = Hint(
        2 * count,
        Text(
            "Every unit was gathered twice. The backward pass begins with the unit with which the forward pass ends: "
            "it need not go and come back.",
            "每个单元都收集了两次。反向传播开始的单元，正是前向传播结束的单元，不必放掉再收回来。",
        ),
    )
    trial.expect_at_most(device.gathers, 2 * count - 1, what=GATHERS, hints=[last])


class Device:
    """A device's memory, and what was computed on it."""

    def __init__(self, trial: Trial, sizes: list[int]) -> None:
        self.trial, self.sizes = trial, sizes
        last = len(sizes) - 1
        self.plan = [("F", i) for i in range(last + 1)] + [("B", i) for i in range(last, -1, -1)]
        self.whole: set[int] = set()
        self.passes = 0
        self.columns: list[tuple[set[int], tuple[str, int]]] = []  # what was whole at each gather and pass
        self.gradient: int | None = None
        self.peak = self.gathers = 0

    def gather(self, i: int) -> None:
        self._known("gather", i)
        self._expect(
            i not in self.whole,
            f"Unit {i} was gathered although its weights are there or on their way.",
            f"{i}号单元的权重已在内存里或在路上，又收集了一次。",
        )
        self.whole.add(i)
        self.gathers += 1
        self.columns.append((set(self.whole), ("g", i)))
        self.peak = max(self.peak, sum(self.sizes[j] for j in self.whole))

    def free(self, i: int) -> None:
        self._known("free", i)
        self._expect(
            i in self.whole,
            f"Unit {i} was freed although its weights are not there.",
            f"释放了{i}号单元，可它的权重并不在内存里。",
        )
        self.whole.remove(i)

    def forward(self, i: int) -> None:
        self._known("forward", i)
        self._compute("F", i)

    def backward(self, i: int) -> None:
        self._known("backward", i)
        self._expect(
            self.gradient is None,
            f"backward({i}) makes gradients while those of unit {self.gradient} are still whole.",
            f"backward({i})要产生梯度，而{self.gradient}号单元的梯度还完整地留着。",
            Text(
                "Reduce a unit's gradients as soon as they are there: in ZeRO, whole gradients are as unwelcome "
                "as whole weights.",
                "梯度一产生就应归约：在ZeRO里，完整的梯度和完整的权重一样占地方。",
            ),
        )
        self._compute("B", i)
        self.gradient = i

    def reduce(self, i: int) -> None:
        self._known("reduce", i)
        self._expect(
            self.gradient == i,
            f"reduce({i}) was called, but unit {i} has no gradients.",
            f"调用了reduce({i})，可{i}号单元没有梯度。",
        )
        self.gradient = None

    def check_end(self) -> None:
        """Everything computed, nothing left."""
        left = self.plan[self.passes :]
        names = ", ".join(f"{'forward' if kind == 'F' else 'backward'}({i})" for kind, i in left[:4])
        self._expect(not left, f"The step ended without {names}.", f"一步已经结束，却没有做{names}。")
        self._expect(
            self.gradient is None,
            f"The gradients of unit {self.gradient} were not reduced.",
            f"{self.gradient}号单元的梯度没有归约。",
        )
        units = ", ".join(map(str, sorted(self.whole)))
        self._expect(
            not self.whole,
            f"At the end the weights of unit {units} are still whole.",
            f"一步结束时，{units}号单元的权重仍是完整的。",
        )

    def draw(self) -> None:
        """A row a unit, a column a gather or a pass: what was whole then."""
        rows = ["".join(self._cell(i, whole, done) for whole, done in self.columns) for i in range(len(self.sizes))]
        table = "\n".join(f"{i:>4}  {row}" for i, row in enumerate(rows))
        self.trial.picture(
            Text(
                f"units, from left to right: g is gathered  F forward  B backward  ░ whole but idle\n{table}",
                f"各单元，从左到右：g 收集  F 前向  B 反向  ░ 完整但不在计算\n{table}",
            )
        )

    @staticmethod
    def _cell(i: int, whole: set[int], done: tuple[str, int]) -> str:
        return done[0] if done[1] == i else "░" if i in whole else "·"

    def _compute(self, kind: str, i: int) -> None:
        name = {"F": "forward", "B": "backward"}
        number = self.passes
        wanted = self.plan[number] if number < len(self.plan) else None
        instead = f"{name[wanted[0]]}({wanted[1]})" if wanted else "-"
        self._expect(
            (kind, i) == wanted,
            f"{name[kind]}({i}) was called where the next pass is {instead}.",
            f"调用了{name[kind]}({i})，而下一个该做的是{instead}。",
        )
        self.passes += 1
        self.columns.append((set(self.whole), (kind, i)))
        self._expect(
            i in self.whole,
            f"{name[kind]}({i}) was called, but the weights of unit {i} are not there.",
            f"调用了{name[kind]}({i})，可{i}号单元的权重不在内存里。",
            Text(
                "A unit that was freed after its forward pass must be gathered again for its backward pass.",
                "前向传播之后释放的单元，反向传播之前要重新收集。",
            )
            if kind == "B"
            else None,
        )
        following = self.plan[number + 1][1] if number + 1 < len(self.plan) else i
        self._expect(
            following in self.whole,
            f"{name[kind]}({i}) computes while the unit that comes next, {following}, is not on its way.",
            f"{name[kind]}({i})在计算，而下一个单元{following}还没有上路。",
            Text(
                "Gathered only when it is needed, a unit keeps the device waiting for the network. Begin to "
                "gather it before the unit ahead of it computes.",
                "要用时才收集，设备就得等网络。应在前一个单元开始计算之前就着手收集。",
            ),
        )

    def _known(self, name: str, i: object) -> None:
        self._expect(
            type(i) is int and 0 <= i < len(self.sizes),
            f"{name} takes the number of a unit, 0 to {len(self.sizes) - 1}, not {i!r:.40}.",
            f"{name}的参数是单元号，从0到{len(self.sizes) - 1}，而不是{i!r:.40}。",
        )

    def _expect(self, condition: bool, en: str, zh: str, hint: Text | None = None) -> None:
        if not condition:
            self.draw()
        self.trial.expect(condition, Text(en, zh), hint=hint)
