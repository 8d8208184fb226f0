"""Rewriting: a rule is a pattern, what to put in its place, and where it holds; all three are text.

    Rule("mul(x, 1)", "x")
    Rule("permute(permute(x, order=p), order=q)", "permute(x, order=compose(p, q))")
    Rule("div(x, full(value=c))", "mul(x, full(value=1 / c, shape=(), dtype=dtype(x)))", where="is_power_of_two(c)")

The language is Python's expressions, read so:

    pattern       `op(operand, ..., attribute=...)`: a node of this operator. An operand is such a node; a name, which
                  stands for any value, the same one wherever it occurs; or a number, which stands for a `full` of it
                  (0.0 and -0.0 differ). An attribute is a literal, which must be equal; a name, which is bound;
                  attributes that are not mentioned may be anything. Operands of COMMUTATIVE operators match in
                  both orders.
    replacement   the same, with every attribute given, each a Python expression over the names that the pattern
                  bound and the functions of RULE_NAMES; a number becomes a scalar of the dtype of the operands
                  beside it; `(e := exp(x))` names a part, so that it can be used twice. `result` is the value that
                  the pattern matched.
    where         a Python expression over the same names.

The operators `and`, `or` and `not` are written `and_`, `or_`, `not_`, as these words are Python's.

What a rule owes: its two sides have one meaning for all operands, `exact` (every bit, NaN, infinities and the sign of
zero included, but not which NaN) or up to rounding. The engine checks that the new value has the dtype of the old, and
its shape, where needed by expanding, and stops where rules undo one another.

This is the term rewriting of Halide's simplifier, of MLIR's DRR and PDL, and of TASO (Jia et al., SOSP 2019), which
also finds rules. All rewrite greedily, the first rule that matches; equality saturation (egg, Willsey et al.,
POPL 2021) keeps all alternatives and chooses at the end.
"""

import ast
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType

from sysai.compiler.errors import InvalidGraph, InvalidRule
from sysai.compiler.graph import Attribute, Graph, Node, Value
from sysai.compiler.graph.operators import OPERATORS, Builder, make_node
from sysai.compiler.graph.operators.operator import broadcast
from sysai.compiler.graph.sizes import as_shape, canonical, product, same, same_shape
from sysai.compiler.tir.expr import FLOATS, HALF, Const, Expr, binary

COMMUTATIVE = ("add", "mul", "min", "max", "eq", "ne", "and", "or")
MOST_STEPS = 100
INTEGERS = ("int64", "int32", "int8")


@dataclass(frozen=True)
class Rule:
    """`pattern` may be replaced by `replacement` where `where` holds; `parsed` are the three, read once.

    Raises:
        InvalidRule: one of the texts is not of the language above.
    """

    pattern: str
    replacement: str
    where: str = "True"
    exact: bool = True
    parsed: tuple[ast.Call, ast.expr, CodeType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            pattern, replacement = (ast.parse(text, mode="eval").body for text in (self.pattern, self.replacement))
            guard = compile(self.where, "<where>", "eval")
        except SyntaxError as error:
            raise InvalidRule(f"{self}: {error}") from None
        if not isinstance(pattern, ast.Call):
            raise InvalidRule(f"{self}: the pattern must be an operator's node")
        for term in (pattern, replacement):
            _check(term, self)
        object.__setattr__(self, "parsed", (pattern, replacement, guard))

    def __str__(self) -> str:
        guard = "" if self.where == "True" else f" where {self.where}"
        return f"{self.pattern} -> {self.replacement}{guard}"


@dataclass(frozen=True)
class Rewritten:
    """A graph after rewriting, and how often each rule was applied."""

    graph: Graph
    applied: Counter[str]


def rewrite(graph: Graph, rules: Sequence[Rule]) -> Rewritten:
    """Apply rules, node by node from the inputs on, also to what they put in; dead nodes stay.

    Raises:
        InvalidRule: a replacement has another dtype or shape than what it replaces, or rules go on for ever.
    """
    rewriter = _Rewriter(graph, rules)
    new: dict[str, Value] = {}
    for node in graph.nodes:
        operands = [new.get(value.name, value) for value in node.inputs]
        rewriter.builder.origin = node.origin
        new[node.output.name] = rewriter.apply(node.op, operands, node.attributes, node.output.name)
    outputs = tuple(new.get(value.name, value) for value in graph.outputs)
    return Rewritten(replace(graph, nodes=tuple(rewriter.builder.nodes), outputs=outputs), rewriter.applied)


class _Rewriter:
    def __init__(self, graph: Graph, rules: Sequence[Rule]) -> None:
        names = [value.name for value in graph.values()]
        self.builder = Builder([*names, *graph.constants, *(size.name for size in graph.sizes)])
        self.producers: dict[str, Node] = {}
        self.applied: Counter[str] = Counter()
        self.rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self.rules.setdefault(operator_name(rule.parsed[0]), []).append(rule)

    def apply(
        self, op: str, operands: Sequence[Value], attributes: Mapping[str, Attribute], name: str = "", steps: int = 0
    ) -> Value:
        """The value of a node: made by it, or by what rules put in its place; called `name`, unless it exists."""
        node = make_node(op, operands, attributes, name=name or "result", origin=self.builder.origin)
        for rule in self.rules.get(op, ()):
            bindings: dict[str, object] = {"result": node.output}
            pattern, replacement, guard = rule.parsed
            if self._matches_node(pattern, node, bindings) and eval(guard, RULE_NAMES, bindings):
                if steps == MOST_STEPS:
                    raise InvalidRule(f"rules go on for ever, the last one: {rule}")
                self.applied[str(rule)] += 1
                value = self._build(replacement, bindings, rule, steps + 1, name)
                return self._fit(value, node.output, rule)
        if not name:
            node = replace(node, output=replace(node.output, name=self.builder.fresh(op)))
        self.builder.nodes.append(node)
        self.producers[node.output.name] = node
        return node.output

    def _fit(self, value: Value, old: Value, rule: Rule) -> Value:
        if value.dtype != old.dtype:
            raise InvalidRule(f"{rule}: gives {value} for {old}")
        if same_shape(value.shape, old.shape):
            return value
        try:
            return self.apply("expand", [value], {"shape": old.shape})
        except InvalidGraph:
            raise InvalidRule(f"{rule}: gives {value} for {old}") from None

    def _matches(self, pattern: ast.expr, value: Value, bindings: dict[str, object]) -> bool:
        if isinstance(pattern, ast.Name):
            return bindings.setdefault(pattern.id, value) == value
        producer = self.producers.get(value.name)
        if producer is None:
            return False
        if isinstance(pattern, ast.Call):
            return self._matches_node(pattern, producer, bindings)
        return producer.op == "full" and _equal(ast.literal_eval(pattern), producer.attributes["value"])

    def _matches_node(self, pattern: ast.Call, node: Node, bindings: dict[str, object]) -> bool:
        if operator_name(pattern) != node.op or len(pattern.args) != len(node.inputs):
            return False
        before = dict(bindings)
        orders = [node.inputs, node.inputs[::-1]] if node.op in COMMUTATIVE else [node.inputs]
        for operands in orders:
            if all(
                self._matches(term, value, bindings) for term, value in zip(pattern.args, operands, strict=True)
            ) and all(_bind(keyword, node.attributes, bindings) for keyword in pattern.keywords):
                return True
            bindings.clear()
            bindings.update(before)
        return False

    def _build(
        self, term: ast.expr, bindings: dict[str, object], rule: Rule, steps: int, name: str = "", dtype: str = ""
    ) -> Value:
        """The value of a term of a replacement; numbers are of `dtype`."""
        match term:
            case ast.Name(variable):
                return bindings[variable]
            case ast.NamedExpr(target, named):
                bindings[target.id] = self._build(named, bindings, rule, steps)
                return bindings[target.id]
            case ast.Call(_, arguments, keywords):
                # Numbers come last: they take the dtype of the operands beside them.
                operands = [None if _is_number(a) else self._build(a, bindings, rule, steps) for a in arguments]
                number_dtype = next((value.dtype for value in reversed(operands) if value is not None), "")
                for position, argument in enumerate(arguments):
                    if operands[position] is None:
                        operands[position] = self._build(argument, bindings, rule, steps, dtype=number_dtype)
                attributes = {k.arg: eval(_compiled(k.value), RULE_NAMES, dict(bindings)) for k in keywords}
                try:
                    return self.apply(operator_name(term), operands, attributes, name, steps)
                except InvalidGraph as error:
                    raise InvalidRule(f"{rule}: {error}") from None
        value = ast.literal_eval(term)
        value = float(value) if dtype in FLOATS else value
        return self.apply("full", [], {"value": value, "shape": (), "dtype": dtype}, name, steps)


def _check(term: ast.expr, rule: Rule) -> None:
    match term:
        case ast.Call(ast.Name(), arguments, keywords):
            name = operator_name(term)
            if name not in OPERATORS:
                raise InvalidRule(f"{rule}: no operator {name!r}")
            if unknown := {keyword.arg for keyword in keywords} - set(OPERATORS[name].attributes):
                raise InvalidRule(f"{rule}: {name} has no attribute {', '.join(map(str, unknown))}")
            for argument in arguments:
                _check(argument, rule)
        case ast.NamedExpr(_, named):
            _check(named, rule)
        case ast.Name():
            pass
        case _ if not _is_number(term):
            raise InvalidRule(f"{rule}: {ast.unparse(term)} is neither a node, a name nor a number")


def operator_name(term: ast.Call) -> str:
    """The operator of a node in a rule's text."""
    return term.func.id.removesuffix("_")


def _is_number(term: ast.expr) -> bool:
    try:
        return isinstance(ast.literal_eval(term), int | float)
    except ValueError:
        return False


def _equal(a: Attribute, b: Attribute) -> bool:
    """Equality that tells True from 1, and 0.0 from -0.0, but not 1 from 1.0."""
    if isinstance(a, bool) != isinstance(b, bool) or not isinstance(b, type(a) | int | float):
        return False
    if isinstance(a, int | float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


def _bind(keyword: ast.keyword, attributes: Mapping[str, Attribute], bindings: dict[str, object]) -> bool:
    """Compare an attribute with a literal, or bind a name to it."""
    actual = attributes[keyword.arg]
    if isinstance(keyword.value, ast.Name):
        return bindings.setdefault(keyword.value.id, actual) == actual
    return _equal(ast.literal_eval(keyword.value), actual)


def _compiled(term: ast.expr) -> CodeType:
    return compile(ast.Expression(term), "<attribute>", "eval")


def count(x: Value, axes: Sequence[int], less: int = 0) -> float | Expr:
    """How many elements lie along the axes, minus a number (but not below 0)."""
    size = canonical(binary("max", product(x.shape[axis] for axis in axes) - less, 0))
    return float(size.value) if isinstance(size, Const) else size


def compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that two orders, one after the other, give."""
    return tuple(first[axis] for axis in second)


def moves_only_ones(x: Value, order: Sequence[int]) -> bool:
    """Whether the axes that are longer than 1 stay in their order, so that no element moves in memory."""
    long = [axis for axis in order if not same(x.shape[axis], 1)]
    return long == sorted(long)


def broadcasts_to(x: Value, y: Value, result: Value) -> bool:
    """Whether the two have the result's shape together, so that neither need be expanded."""
    try:
        return same_shape(broadcast(x.shape, y.shape), result.shape)
    except InvalidGraph:
        return False


def swaps_last(order: Sequence[int]) -> bool:
    """Whether an order of axes exchanges the last two and nothing else."""
    first = len(order) - 2
    return first >= 0 and tuple(order) == (*range(first), first + 1, first)


def channels(x: Value) -> tuple[Expr, ...]:
    """The shape with which one number for each channel (axis 1) broadcasts to x."""
    return as_shape((x.shape[1], *[1] * (len(x.shape) - 2)))


def triangle(x: Value, axis: int) -> tuple[Expr, ...]:
    """[n, n, 1, ...]: n the size of x along the axis, as many ones as axes follow."""
    return as_shape((x.shape[axis], x.shape[axis], *[1] * (len(x.shape) - axis - 1)))


def grouped(q: Value, k: Value, width: Expr) -> tuple[Expr, ...]:
    """[B, N, H / N * T, width]: the query heads that share a key-value head as rows of one matrix."""
    B, H, T = q.shape[:3]
    N = k.shape[1]
    return as_shape((B, N, H // N * T, width))


_WIDER = {
    "bool": ("int8", "int32", "int64", *FLOATS),
    "int8": ("int32", "int64", *FLOATS),
    "int32": ("int64", "float64"),
    "bfloat16": ("float32", "float64"),
    "float16": ("float32", "float64"),
    "float32": ("float64",),
}


def casts_exactly(source: str, target: str) -> bool:
    """Whether every value of the source dtype is one of the target dtype."""
    return source == target or target in _WIDER.get(source, ())


def is_reciprocal_exact(number: float | Expr, of: str) -> bool:
    """Whether 1 / number has no rounding error in the dtype: plus or minus a power of two, away from its limits."""
    if isinstance(number, Expr) or of not in FLOATS or not math.isfinite(number) or number == 0:
        return False
    exponent = math.frexp(number)[1]
    return abs(math.frexp(number)[0]) == 0.5 and abs(exponent) < 14


RULE_NAMES = {
    "FLOATS": FLOATS, "INTEGERS": INTEGERS, "HALF": HALF,
    "shape": lambda x: x.shape, "dtype": lambda x: x.dtype, "rank": lambda x: len(x.shape),
    **{
        function.__name__: function
        for function in (
            count, compose, same, same_shape, moves_only_ones, broadcasts_to, swaps_last, channels, triangle, grouped,
            casts_exactly, is_reciprocal_exact,
        )
    },
}  # fmt: skip
"""What the texts of rules may use beside the names that a pattern binds."""
