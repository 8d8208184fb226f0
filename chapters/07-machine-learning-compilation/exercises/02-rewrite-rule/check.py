"""Gates on every bit of the values and on the number of nodes, of each identity by itself and of random graphs."""

import math

import torch
from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph.builder import Builder
from sysai.compiler.graph.graph import Graph, Value
from sysai.compiler.graph.interpret import interpret
from sysai.compiler.graph.sizes import as_shape, evaluate
from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.graph.verify import verify
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from torch import Tensor

PRELOAD = ("torch",)
torch.set_num_threads(1)
NODES = Text("nodes, constants aside", "常数以外的节点数")
NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, -3.25, 1e8, 1e30, math.inf, -math.inf, math.nan)
SIDE = 4  # of all axes, so that wrong orders of them have the right shape
OPERATORS = """
    add sub mul div min max lt le eq ne and or select cast full expand
    exp abs sqrt softmax matmul permute reshape reduce
"""

SITES = {
    # kind: (number of the identity, nodes, nodes that are left at least)
    "transposed": (1, 2, 1),
    "other_order": (1, 2, 2),
    "other_product": (1, 2, 2),
    "square": (2, 2, 1),
    "scaled": (3, 3, 2),
    "scaled_down": (3, 3, 3),
    "scaled_away": (3, 3, 3),
    "chosen": (4, 3, 2),
    "absolute": (5, 2, 1),
    "plus_zero": (6, 1, 1),
    "difference": (7, 1, 1),
    "larger": (8, 2, 2),
    "exponents": (9, 3, 3),
    "shifted": (10, 2, 2),
}
WHY = {
    "other_order": Text(
        "This order of axes exchanges others than the last two. Say in `where` which orders the rule is for.",
        "这里交换的不是最后两个轴。规则适用于哪些次序，应在`where`中写明。",
    ),
    "other_product": Text(
        "This product has transpose_b=False: its transpose is another one. An attribute that the pattern does "
        "not mention may be anything.",
        "这个乘积的`transpose_b=False`，它的转置是另一回事。模式里没有写出的属性，可以取任何值。",
    ),
    "scaled_down": Text(
        "A negative factor turns the larger of two numbers into the smaller.", "乘以负数，较大的数就变成了较小的。"
    ),
    "scaled_away": Text(
        "With the factor 0: what is 0 times infinity, and what is the maximum of that and a number?",
        "系数是0时：0乘无穷大是什么？它与一个数取最大值又是什么？",
    ),
    "plus_zero": Text("-0 + 0 is 0, not -0.", "-0 + 0等于0，而不是-0。"),
    "difference": Text("What is infinity minus infinity, and NaN minus NaN?", "无穷大减无穷大是什么？NaN减NaN呢？"),
    "larger": Text(
        "A comparison with NaN is false. Which of the two does `select` take then, and what does `max` give?",
        "与NaN作比较，结果是假。这时`select`取哪一个？`max`给出什么？",
    ),
    "exponents": Text(
        "Each exp rounds, and so does the product. A sum of exponents rounds elsewhere; and the product of "
        "infinity and 0 is not exp of anything.",
        "每个exp要舍入，乘积也要舍入；指数相加则在另一处舍入。况且无穷大乘0，不等于任何数的exp。",
    ),
    "shifted": Text(
        "x + c rounds to a multiple of the last bit of c: differences between the elements of x get lost.",
        "x + c要舍入到c的最后一位，x各元素之间的差别就会丢失。",
    ),
}
MISSING = {
    1: Text(
        "A transposed product is a product: one node instead of two.", "乘积的转置还是乘积：两个节点可以换成一个。"
    ),
    2: Text(
        "The sign of x does not matter for its square; the absolute values can go.",
        "平方与x的正负无关，绝对值可以去掉。",
    ),
    3: Text(
        "For a positive factor the order of x and y is that of their multiples, rounding included.",
        "系数为正时，x与y的大小次序就是它们的倍数的次序，舍入之后也是如此。",
    ),
    4: Text(
        "Either way each element is exp of one number: choose first, then compute one exp.",
        "无论怎样，每个元素都是某一个数的exp：先选，再算一次exp就够了。",
    ),
    5: Text("A square is never negative, and never -0.", "平方不会是负数，也不会是-0。"),
}


class Garden:
    """A graph that grows by sites: places where an identity fits. `nodes` and `least` count them as SITES does."""

    def __init__(self, trial: Trial):
        self.random = trial.random
        shape = as_shape((SIDE, SIDE, SIDE))
        self.inputs = [Value(name, shape, "float32") for name in ("a", "b", "x", "y")] + [Value("p", shape, "bool")]
        self.builder = Builder([value.name for value in self.inputs])
        self.a, self.b, *numbers, self.p = self.inputs
        self.numbers, self.outputs = numbers, []
        self.nodes = self.least = 0

    def number(self, value: float) -> Value:
        return self.builder.full(value, "float32")

    def grow(self, kind: str) -> None:
        _, nodes, least = SITES[kind]
        self.outputs.append(getattr(self, f"_{kind}")())
        self.nodes, self.least = self.nodes + nodes, self.least + least
        if SITES[kind][0] > 5:  # others are products of integers, or places in which several rules might meet
            self.numbers.append(self.outputs[-1])

    def graph(self) -> Graph:
        return Graph("g", (), tuple(self.inputs), {}, tuple(self.builder.nodes), tuple(self.outputs))

    def _two(self) -> list[Value]:
        return self.random.sample(self.numbers, 2)

    def _product(self, transpose_b: bool, order: tuple[int, ...]) -> Value:
        a, b = self.random.sample([self.a, self.b], 2)
        emit = self.builder.emit
        return emit("permute", emit("matmul", a, b, transpose_b=transpose_b), order=order)

    def _transposed(self) -> Value:
        return self._product(True, (0, 2, 1))

    def _other_order(self) -> Value:
        return self._product(True, self.random.choice([(1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)]))

    def _other_product(self) -> Value:
        return self._product(False, (0, 2, 1))

    def _square(self) -> Value:
        x, _ = self._two()
        positive = self.builder.emit("abs", x)
        return self.builder.emit("mul", positive, positive)

    def _scaled(self, factors: tuple[float, ...] = (2.0, 0.1, 3.0)) -> Value:
        c, emit = self.random.choice(factors), self.builder.emit
        x, y = (emit("mul", *self.random.sample([value, self.number(c)], 2)) for value in self._two())
        return emit("max", x, y)

    def _scaled_down(self) -> Value:
        return self._scaled((-2.0, -0.1))

    def _scaled_away(self) -> Value:
        return self._scaled((0.0,))

    def _chosen(self) -> Value:
        emit = self.builder.emit
        return emit("select", self.p, *(emit("exp", value) for value in self._two()))

    def _absolute(self) -> Value:
        x, _ = self._two()
        return self.builder.emit("abs", self.builder.emit("mul", x, x))

    def _plus_zero(self) -> Value:
        x, _ = self._two()
        return self.builder.emit("add", *self.random.sample([x, self.number(0.0)], 2))

    def _difference(self) -> Value:
        x, _ = self._two()
        return self.builder.emit("sub", x, x)

    def _larger(self) -> Value:
        x, y = self._two()
        return self.builder.emit("select", self.builder.emit("lt", x, y), y, x)

    def _exponents(self) -> Value:
        emit = self.builder.emit
        return emit("mul", *(emit("exp", value) for value in self._two()))

    def _shifted(self) -> Value:
        x, _ = self._two()
        c = self.number(self.random.choice([1.0, 1e6]))
        return self.builder.emit("softmax", self.builder.emit("add", x, c), axis=2)


def check(trial: Trial) -> None:
    for kind in SITES:
        for _ in range(3):
            garden = Garden(trial)
            garden.grow(kind)
            _check(trial, garden, kind)
    for _ in range(15):
        garden = Garden(trial)
        for kind in [*trial.random.choices(list(SITES), k=9), "transposed", "scaled"]:
            garden.grow(kind)
        _check(trial, garden)


def _check(trial: Trial, garden: Garden, kind: str | None = None) -> None:
    before = garden.graph()
    got = trial.call("optimize", print_graph(before))
    trial.expect_type(got, str)
    trial.picture(_picture(before, got))
    after = _read(trial, got, before)
    number = SITES[kind][0] if kind else 0
    inputs = _inputs(trial)
    for index, (old, new) in enumerate(zip(interpret(before, *inputs), interpret(after, *inputs), strict=True)):
        _check_bits(trial, before, inputs, index, old, new, number, WHY.get(kind))
    missing = [Hint(lambda _: number in MISSING, MISSING.get(number, MISSING[1]))]
    left = sum(node.op != "full" for node in after.nodes)
    trial.expect_at_most(left, garden.least, what=NODES, hints=missing)


def _read(trial: Trial, text: str, before: Graph) -> Graph:
    """The graph that came back, which may hold anything."""
    graph, fault = None, ""
    try:
        graph = parse_graph(text)
        verify(graph)
    except InvalidGraph as error:
        fault = str(error)
    trial.expect(not fault, Text(f"The text is not a graph: {fault}", f"这段文本不是图：{fault}"))
    strange = next((node.op for node in graph.nodes if node.op not in OPERATORS.split()), None)
    trial.expect(
        strange is None,
        Text(f"The operator {strange} is not needed here.", f"这里用不着算子{strange}。"),
    )
    sizes = [math.prod(evaluate(size, {}) for size in node.output.shape) for node in graph.nodes]
    trial.expect(
        len(sizes) <= 2 * len(before.nodes) and all(size <= SIDE**3 for size in sizes),
        Text("The graph has grown, or its tensors have.", "图变大了，或者其中的张量变大了。"),
    )
    types = [[(value.shape, value.dtype) for value in g.outputs] for g in (before, graph)]
    trial.expect(
        graph.inputs == before.inputs and types[0] == types[1],
        Text("The graph has other inputs or outputs than before.", "图的输入或输出与原来不同。"),
    )
    return graph


def _inputs(trial: Trial) -> list[Tensor]:
    """Small integers other than 0 for the matrices; what rules break on for the others."""
    random, count = trial.random, SIDE**3
    shape = (SIDE, SIDE, SIDE)
    matrices = [[random.choice([-3, -2, -1, 1, 2, 3, 4]) for _ in range(count)] for _ in range(2)]
    if random.random() < 0.3:
        matrices[0][random.randrange(count)] = random.choice([math.inf, math.nan])
    numbers = [[random.choice((*NUMBERS, random.gauss(0, 1))) for _ in range(count)] for _ in range(2)]
    tensors = [torch.tensor(values, dtype=torch.float32).reshape(shape) for values in matrices + numbers]
    return [*tensors, torch.tensor([random.random() < 0.5 for _ in range(count)]).reshape(shape)]


def _check_bits(trial: Trial, graph, inputs, index: int, old: Tensor, new: Tensor, number: int, why) -> None:
    same = (old.view(torch.int32) == new.view(torch.int32)) | (old.isnan() & new.isnan())
    if same.all():
        return
    place = tuple(int(i) for i in (~same).nonzero()[0])
    name = graph.outputs[index].name
    x, y = (f"{inputs[k][place].item():g}" for k in (2, 3))
    which = Text(f" Identity {number} is not valid for this graph.", f"恒等式{number}对这个图不成立。")
    at = Text(f", where x is {x} and y is {y}", f"（此处x是{x}，y是{y}）") if number > 1 else Text("", "")
    was, is_now = (f"{tensor[place].item():.9g}" for tensor in (old, new))
    trial.expect(
        False,
        Text(
            f"{name}{list(place)} was {was} and is now {is_now}{at['en']}.{which['en'] if number else ''}",
            f"{name}{list(place)}原来是{was}，现在是{is_now}{at['zh']}。{which['zh'] if number else ''}",
        ),
        why,
    )


def _picture(before: Graph, after: str) -> Text:
    old = print_graph(before)
    return Text(f"before\n{old}\nafter\n{after}", f"改写前\n{old}\n改写后\n{after}")
