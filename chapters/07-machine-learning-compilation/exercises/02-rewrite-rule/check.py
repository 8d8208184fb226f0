"""Gates on every bit of the values and on the number of nodes, of each identity by itself and of random graphs."""

import math
from dataclasses import dataclass
from functools import partial
from random import Random

import torch
from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import run_graph
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape, evaluate
from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.graph.verify import verify
from sysai.compiler.passes.counterexample import NUMBERS
from sysai.compiler.passes.rewrite import COMMUTATIVE
from sysai.core.language import Text
from sysai.exercises.trial import Trial
from torch import Tensor

PRELOAD = ("torch",)
torch.set_num_threads(1)
NODES = Text("nodes, constants aside", "常数以外的节点数")
SHAPE = (4, 4, 4)  # all axes alike, so that wrong orders of them have the right shape
OPERATORS = """
    add sub mul div min max lt le eq ne and or select cast full expand
    exp abs sqrt softmax matmul permute reshape reduce
"""


@dataclass(frozen=True)
class Site:
    """A place where an identity fits: a term over matrices a and b, numbers x and y, conditions p, and one of `c`.

    `saves` are the nodes that the identity saves here, 0 where it does not hold; then `hint` says why.
    """

    identity: int
    term: str
    saves: int = 0
    c: tuple = (None,)
    hint: Text | None = None


SITES = [
    Site(1, "permute(matmul(a, b, transpose_b=True), order=(0, 2, 1))", saves=1),
    Site(
        1,
        "permute(matmul(a, b, transpose_b=True), order=c)",
        c=((1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)),
        hint=Text(
            "This order of axes exchanges others than the last two. Say in `where` which orders the rule is for.",
            "这里交换的不是最后两个轴。规则适用于哪些次序，应在`where`中写明。",
        ),
    ),
    Site(
        1,
        "permute(matmul(a, b, transpose_b=False), order=(0, 2, 1))",
        hint=Text(
            "This product has transpose_b=False: its transpose is another one. An attribute that the pattern does "
            "not mention may be anything.",
            "这个乘积的`transpose_b=False`，它的转置是另一回事。模式里没有写出的属性，可以取任何值。",
        ),
    ),
    Site(2, "mul((positive := abs(x)), positive)", saves=1),
    Site(3, "max(mul(x, number(c)), mul(y, number(c)))", saves=1, c=(2.0, 0.1, 3.0)),
    Site(
        3,
        "max(mul(x, number(c)), mul(y, number(c)))",
        c=(-2.0, -0.1),
        hint=Text(
            "A negative factor turns the larger of two numbers into the smaller.",
            "乘以负数，较大的数就变成了较小的。",
        ),
    ),
    Site(
        3,
        "max(mul(x, number(c)), mul(y, number(c)))",
        c=(0.0,),
        hint=Text(
            "With the factor 0: what is 0 times infinity, and what is the maximum of that and a number?",
            "系数是0时：0乘无穷大是什么？它与一个数取最大值又是什么？",
        ),
    ),
    Site(4, "select(p, exp(x), exp(y))", saves=1),
    Site(5, "abs(mul(x, x))", saves=1),
    Site(6, "add(x, number(0.0))", hint=Text("-0 + 0 is 0, not -0.", "-0 + 0等于0，而不是-0。")),
    Site(
        7,
        "sub(x, x)",
        hint=Text("What is infinity minus infinity, and NaN minus NaN?", "无穷大减无穷大是什么？NaN减NaN呢？"),
    ),
    Site(
        8,
        "select(lt(x, y), y, x)",
        hint=Text(
            "A comparison with NaN is false. Which of the two does `select` take then, and what does `max` give?",
            "与NaN作比较，结果是假。这时`select`取哪一个？`max`给出什么？",
        ),
    ),
    Site(
        9,
        "mul(exp(x), exp(y))",
        hint=Text(
            "Each exp rounds, and so does the product. A sum of exponents rounds elsewhere; and the product of "
            "infinity and 0 is not exp of anything.",
            "每个exp要舍入，乘积也要舍入；指数相加则在另一处舍入。况且无穷大乘0，不等于任何数的exp。",
        ),
    ),
    Site(
        10,
        "softmax(add(x, number(c)), axis=2)",
        c=(1.0, 1e6),
        hint=Text(
            "x + c rounds to a multiple of the last bit of c: differences between the elements of x get lost.",
            "x + c要舍入到c的最后一位，x各元素之间的差别就会丢失。",
        ),
    ),
]


def check(trial: Trial) -> None:
    for site in SITES:
        for _ in range(3):
            _check(trial, [site])
    saving = [site for site in SITES if site.saves]
    for _ in range(15):
        _check(trial, trial.random.choices(SITES, k=9) + trial.random.sample(saving, k=2))


def _graph(random: Random, sites: list[Site]) -> Graph:
    """An output for each site, which takes inputs, or what sites before it have made."""
    a, b, x, y = (Value(name, as_shape(SHAPE), "float32") for name in "abxy")
    p = Value("p", as_shape(SHAPE), "bool")
    builder, numbers, outputs = Builder("abxyp"), [x, y], []

    def emit(op: str, *operands: Value, **attributes: object) -> Value:
        if op in COMMUTATIVE:
            operands = random.sample(operands, len(operands))
        return builder.emit(op, *operands, **attributes)

    operators = {op: partial(emit, op) for op in OPERATORS.split()}
    for site in sites:
        names = dict(zip("abxy", random.sample([a, b], 2) + random.sample(numbers, 2), strict=True))
        names |= {"p": p, "c": random.choice(site.c), "number": lambda value: builder.full(value, "float32")}
        outputs.append(eval(site.term, operators | names))
        if site.identity > 5:  # others are products of integers, or places in which several rules might meet
            numbers.append(outputs[-1])
    return Graph("g", (), (a, b, x, y, p), {}, tuple(builder.nodes), tuple(outputs))


def _check(trial: Trial, sites: list[Site]) -> None:
    before = _graph(trial.random, sites)
    text = print_graph(before)
    got = trial.call("optimize", text)
    numbers = ", ".join(str(site.identity) for site in sites)
    graphs = Text(f"before\n{text}\nafter\n{got}", f"改写前\n{text}\n改写后\n{got}")
    trial.picture(Text(f"identities: {numbers}\n{graphs['en']}", f"恒等式：{numbers}\n{graphs['zh']}"))
    after, inputs = _read(trial, got, before), _inputs(trial.random)
    why = sites[0].hint if len(sites) == 1 else None
    for value, old, new in zip(before.outputs, run_graph(before, *inputs), run_graph(after, *inputs), strict=True):
        same = (old.view(torch.int32) == new.view(torch.int32)) | (old.isnan() & new.isnan())
        for place in map(tuple, (~same).nonzero().tolist()[:1]):
            x, y, was, is_now = (f"{tensor[place].item():.9g}" for tensor in (*inputs[2:4], old, new))
            message = Text(
                f"{value.name}{[*place]} was {was} and is now {is_now}. There x is {x}, and y is {y}.",
                f"{value.name}{[*place]}原来是{was}，现在是{is_now}。那里的x是{x}，y是{y}。",
            )
            trial.expect(False, message, why)
    counts = [sum(node.op != "full" for node in graph.nodes) for graph in (before, after)]
    trial.expect_at_most(counts[1], counts[0] - sum(site.saves for site in sites), what=NODES)


def _read(trial: Trial, text: str, before: Graph) -> Graph:
    """The graph that came back, which may hold anything."""
    graph, fault = None, ""
    try:
        graph = parse_graph(text)
        verify(graph)
    except InvalidGraph as error:
        fault = str(error)
    trial.expect(not fault, Text(f"The text is not a graph: {fault}", f"这段文本不是图：{fault}"))
    types = [[(value.shape, value.dtype) for value in g.outputs] for g in (before, graph)]
    trial.expect(
        graph.inputs == before.inputs and types[0] == types[1],
        Text("The graph has other inputs or outputs than before.", "图的输入或输出与原来不同。"),
    )
    strange = next((node.op for node in graph.nodes if node.op not in OPERATORS.split()), None)
    trial.expect(strange is None, Text(f"The operator {strange} is not needed here.", f"这里用不着算子{strange}。"))
    sizes = [math.prod(evaluate(size, {}) for size in node.output.shape) for node in graph.nodes]
    trial.expect(
        len(sizes) <= 2 * len(before.nodes) and max(sizes, default=0) <= math.prod(SHAPE),
        Text("The graph has grown, or its tensors have.", "图变大了，或者其中的张量变大了。"),
    )
    return graph


def _inputs(random: Random) -> list[Tensor]:
    """Small integers other than 0 for the matrices; what rules break on for the others."""
    count = math.prod(SHAPE)
    matrices = [random.choices((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0), k=count) for _ in "ab"]
    if random.random() < 0.3:
        matrices[0][random.randrange(count)] = random.choice([math.inf, math.nan])
    numbers = [[random.choice((*NUMBERS, 1e8, random.gauss(0, 1))) for _ in range(count)] for _ in "xy"]
    conditions = random.choices((True, False), k=count)
    return [torch.tensor(values).reshape(SHAPE) for values in (*matrices, *numbers, conditions)]
