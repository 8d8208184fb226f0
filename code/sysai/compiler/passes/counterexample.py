"""Look for a graph on which a rule is wrong.

A rule claims something of all graphs. This makes small graphs that its pattern matches (random shapes, dtypes and
attributes for its names), fills the inputs with what rules break on (NaN, infinities, both zeros, one, odd sizes),
and compares the interpreter's values before and after. One difference refutes the rule; none in many trials is not a
proof, but few wrong rules survive it. Alive2 (Lopes et al., PLDI 2021) proves LLVM's rules with a solver instead.

Rules that are not exact are tried on finite numbers only, as torch is at odds with itself beyond: its gelu of an
infinity depends on where the infinity stands in the tensor.
"""

import ast
import math
import random
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Attribute, Graph, Value
from sysai.compiler.graph.interpret import TORCH_DTYPES, run_graph
from sysai.compiler.graph.operators import OPERATORS, Builder
from sysai.compiler.graph.sizes import as_shape, evaluate
from sysai.compiler.passes.rewrite import Rule, operator_name, rewrite
from sysai.compiler.tir.expr import FLOATS

NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, -3.25, 1e30, math.inf, -math.inf, math.nan)
_DTYPES = ("float32", "float32", "float64", "bfloat16", "int64", "int32", "int8", "bool")
_CHOICES = {
    "step": (1, 1, 2), "dtype": _DTYPES, "combine": ("add", "max"), "kernel": ((1, 1), (2, 2), (2, 1)),
    "stride": ((1, 1), (2, 2), (2, 1)), "padding": ((0, 0), (1, 1), (0, 1)), "scale": (0.5, 0.3),
    "approximate": ("none", "tanh"), "correction": (0, 1),
}  # fmt: skip
"""For attributes by name, what is drawn for them whatever the operands are."""


@dataclass(frozen=True)
class Counterexample:
    """A graph that the rule changes, inputs, and the two results that differ."""

    graph: Graph
    inputs: tuple[Tensor, ...]
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Search:
    """The outcome of a search: how many graphs matched the rule, and the one on which it is wrong, if any."""

    matched: int
    counterexample: Counterexample | None


def search(rule: Rule, trials: int = 200, seed: int = 0) -> Search:
    """Try a rule on graphs that its pattern matches.

    Args:
        trials: how many matching graphs to try; up to 200 times as many are drawn.
        seed: of the random choices.
    """
    generator = random.Random(seed)
    matched = 0
    for _ in range(200 * trials):
        graph = _Instance(generator, rule).graph()
        rewritten = rewrite(graph, [rule]) if graph is not None else None
        if rewritten is None or not rewritten.applied:
            continue
        matched += 1
        inputs = tuple(_elements(value, generator, special=rule.exact and matched % 2 == 0) for value in graph.inputs)
        try:
            (before,) = run_graph(graph, *inputs)
        except (RuntimeError, IndexError):  # torch has no such operator for this dtype, or an index is out of range
            continue
        (after,) = run_graph(rewritten.graph, *inputs)
        if not (same_bits(before, after) if rule.exact else close(before, after)):
            return Search(matched, Counterexample(graph, inputs, before, after))
        if matched == trials:
            break
    return Search(matched, None)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal in every bit, but for which NaN they hold."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if not a.dtype.is_floating_point:
        return torch.equal(a, b)
    equal = (a == b) & (a.signbit() == b.signbit())
    return bool((equal | (a.isnan() & b.isnan())).all())


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to a few roundings; NaN and infinities must stand in the same places."""
    tolerance = {torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float64: 1e-9}.get(a.dtype, 2e-5)
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


def _elements(value: Value, generator: random.Random, special: bool) -> Tensor:
    shape = [evaluate(size, {}) for size in value.shape]
    draw = partial(generator.choice, NUMBERS) if special else partial(generator.gauss, 0, 1)
    if value.dtype not in FLOATS:
        draw = partial(generator.randint, *((0, 1) if value.dtype == "bool" else (-5, 5)))
    elements = [draw() for _ in range(math.prod(shape))]
    return torch.tensor(elements, dtype=TORCH_DTYPES[value.dtype]).reshape(shape)


class _Instance:
    """One random graph that has the form of a rule's pattern."""

    def __init__(self, generator: random.Random, rule: Rule) -> None:
        self.generator, self.rule = generator, rule
        self.builder = Builder()
        self.bindings: dict[str, Value | Attribute] = {}
        self.inputs: list[Value] = []
        self.sizes = generator.choice(((1, 2), (1, 2, 3), (2, 3)))
        named = ["bfloat16"] if "bfloat16" in rule.where else []
        # Where a rule is not exact, half precision would hide what is wrong with it by its rounding.
        others = [dtype for dtype in _DTYPES if rule.exact or dtype != "bfloat16"]
        self.dtype = generator.choice(named or others)

    def graph(self) -> Graph | None:
        """The graph, or None where what was drawn does not fit together."""
        try:
            output = self._term(self.rule.parsed[0])
        except (InvalidGraph, IndexError, ValueError):
            return None
        return Graph("instance", (), tuple(self.inputs), {}, tuple(self.builder.nodes), (output,))

    def _term(self, term: ast.expr) -> Value:
        if isinstance(term, ast.Name):
            if term.id not in self.bindings:
                self.bindings[term.id] = self._input(term.id)
            return self.bindings[term.id]
        if not isinstance(term, ast.Call):
            value = ast.literal_eval(term)
            dtype = "bool" if isinstance(value, bool) else self.dtype
            value = float(value) if dtype in FLOATS else value
            return self.builder.full(value, dtype, as_shape(self._like_another()))
        op = operator_name(term)
        operands = [self._term(argument) for argument in term.args]
        terms = {keyword.arg: keyword.value for keyword in term.keywords}
        attributes = {name: self._attribute(name, terms.get(name), op, operands) for name in OPERATORS[op].attributes}
        return self.builder.emit(op, *operands, **attributes)

    def _attribute(self, name: str, term: ast.expr | None, op: str, operands: list[Value]) -> Attribute:
        if term is None:
            return self._draw(name, op, operands)
        if not isinstance(term, ast.Name):
            return ast.literal_eval(term)
        if term.id not in self.bindings:
            self.bindings[term.id] = self._draw(name, op, operands)
        return self.bindings[term.id]

    def _input(self, name: str) -> Value:
        others = ("bool", self.generator.choice(_DTYPES))
        dtype = self.dtype if self.generator.random() < 0.75 else self.generator.choice(others)
        value = Value(self.builder.fresh(name), as_shape(self._like_another()), dtype)
        self.inputs.append(value)
        return value

    def _like_another(self) -> tuple[int, ...]:
        """A shape: that of an input, one that broadcasts to it, or another."""
        choice = self.generator.random()
        if not self.inputs or choice < 0.2:
            return tuple(self.generator.choice(self.sizes) for _ in range(self.generator.choice((0, 1, 2, 2, 3, 4))))
        other = self.inputs[-1] if self.generator.random() < 0.5 else self.generator.choice(self.inputs)
        shape = [evaluate(size, {}) for size in other.shape]
        if choice < 0.6:
            return tuple(shape)
        if choice < 0.7 and len(shape) > 1:
            return (shape[1],)
        last_axes = shape[self.generator.randint(0, len(shape)) :]
        return tuple(1 if self.generator.random() < 0.3 else size for size in last_axes)

    def _draw(self, name: str, op: str, operands: list[Value]) -> Attribute:
        """A value that an attribute of this name may have."""
        choose = self.generator.choice
        shape = [evaluate(size, {}) for size in operands[0].shape] if operands else list(self._like_another())
        axes = list(range(len(shape)))
        if name in _CHOICES:
            return choose(_CHOICES[name])
        match name:
            case "axes" if op in ("layer_norm", "rms_norm"):
                return tuple(axes[choose(axes) :])
            case "axes":
                return tuple(sorted(self.generator.sample(axes, self.generator.randint(0, len(axes)))))
            case "axis":
                return choose(axes)
            case "order":
                return tuple(self.generator.sample(axes, len(axes)))
            case "shape" if op == "expand":
                new_axes = [choose(self.sizes)] * choose((0, 0, 1))
                return (*new_axes, *(choose(self.sizes) if n == 1 else n for n in shape))
            case "shape" if op == "reshape":
                mixed = self.generator.sample(shape, len(shape))
                return tuple(choose((mixed, shape, [math.prod(shape)], [*shape, 1], [1, *shape])))
            case "shape":
                return tuple(shape)
            case "start" | "stop":
                return self.generator.randint(0, 2)
            case "before" | "after":
                return tuple(choose((0, 0, 1)) for _ in axes)
            case "value":
                return self._number()
            case "eps":
                return 1e-5
        return choose((True, False))

    def _number(self) -> float:
        if self.dtype == "bool":
            return self.generator.random() < 0.5
        return self.generator.choice(NUMBERS) if self.dtype in FLOATS else self.generator.randint(-4, 4)
