"""Decomposition: composite operators become core ones, by rules.

What a composite is made of stands here once, for the lowering, for fusion, which then sees through it, and for the
reader. Sums and products come out as torch's up to rounding; what is exact is not marked. A softmax multiplies by
1 / sum(e), one division for a row, which rounds twice (1 unit in the last place more); attention does so last of all.

Operators that torch computes in float32 whatever the operands' precision do so here by casts: in half precision
softmax, attention, norms, means and activations are wrapped, and only then taken apart.
"""

from sysai.compiler.graph.graph import Graph
from sysai.compiler.graph.operators import OPERATORS
from sysai.compiler.passes.helpers import HALF
from sysai.compiler.passes.rewrite import Rewritten, Rule, rewrite

_IN_FLOAT32 = (
    "softmax",
    "log_softmax",
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "mean",
    "var",
    "cumsum",
    "gelu",
    "silu",
    "scaled_dot_product_attention",
)


def _widened() -> tuple[Rule, ...]:
    """Composites of half precision, computed in float32."""
    rules = []
    for name in _IN_FLOAT32:
        low, high = OPERATORS[name].operands
        attributes = [f"{attribute}={attribute}" for attribute in OPERATORS[name].attributes]
        for number in range(low, high + 1):
            operands = [f"x{k}" for k in range(number)]
            casts = [f"cast({x}, dtype='bool' if dtype({x}) == 'bool' else 'float32')" for x in operands]
            pattern, wide = (f"{name}({', '.join(parts + attributes)})" for parts in (operands, casts))
            rules.append(Rule(pattern, f"cast({wide}, dtype=dtype(x0))", f"dtype(x0) in {HALF}", exact=False))
    return tuple(rules)


def _approximate(pattern: str, replacement: str, where: str = "True") -> Rule:
    return Rule(pattern, replacement, where, exact=False)


ACTIVATIONS = (
    _approximate("relu(x)", "max(x, 0)"),
    Rule("neg(x)", "mul(x, -1)"),
    Rule("square(x)", "mul(x, x)"),
    Rule("reciprocal(x)", "div(1, x)"),
    Rule("not_(x)", "eq(x, False)"),
    _approximate("silu(x)", "mul(x, sigmoid(x))"),
    _approximate("gelu(x, approximate='none')", "mul(mul(x, 0.5), add(erf(mul(x, 0.7071067811865476)), 1))"),
    _approximate(
        "gelu(x, approximate='tanh')",
        "mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(x, mul(x, x)), 0.044715)), 0.7978845608028654)), 1))",
    ),
)
POWERS = (
    Rule("pow(x, exponent=0)", "full(value=1, shape=shape(x), dtype=dtype(x))"),
    Rule("pow(x, exponent=1)", "x"),
    Rule("pow(x, exponent=2)", "mul(x, x)"),
    Rule("pow(x, exponent=3)", "mul(mul(x, x), x)"),
    Rule("pow(x, exponent=0.5)", "sqrt(x)"),
    _approximate("pow(x, exponent=-0.5)", "rsqrt(x)"),
    Rule("pow(x, exponent=-1)", "div(1, x)"),
    Rule("pow(x, exponent=-2)", "div(1, mul(x, x))"),
)
SUMS = (
    _approximate(
        "mean(x, axes=a, keepdim=k)",
        "div(reduce(x, combine='add', axes=a, keepdim=k), full(value=count(x, a), shape=(), dtype=dtype(x)))",
    ),
    _approximate(
        "var(x, axes=a, keepdim=k, correction=c)",
        "div(reduce(mul(d := sub(x, mean(x, axes=a, keepdim=True)), d), combine='add', axes=a, keepdim=k),"
        " full(value=count(x, a, c), shape=(), dtype=dtype(x)))",
    ),
    _approximate(
        "cumsum(x, axis=a)",
        "reduce(select(le(iota(axis=0, shape=triangle(x, a)), iota(axis=1, shape=triangle(x, a))),"
        " reshape(x, shape=one_more_axis(x, a)), 0), combine='add', axes=(a,), keepdim=False)",
    ),
    _approximate(
        "softmax(x, axis=a)",
        "mul(e := exp(sub(x, reduce(x, combine='max', axes=(a,), keepdim=True))),"
        " div(1, reduce(e, combine='add', axes=(a,), keepdim=True)))",
    ),
    _approximate(
        "log_softmax(x, axis=a)",
        "sub(d := sub(x, reduce(x, combine='max', axes=(a,), keepdim=True)),"
        " log(reduce(exp(d), combine='add', axes=(a,), keepdim=True)))",
    ),
)
_LAYER_NORM = (
    "mul(d := sub(x, mean(x, axes=a, keepdim=True)),"
    " rsqrt(add(mean(mul(d, d), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"
)
_RMS_NORM = "mul(x, rsqrt(add(mean(mul(x, x), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"
_BATCH_NORM = "rsqrt(add(v, full(value=e, shape=(), dtype=dtype(v))))"
NORMS = (
    _approximate("layer_norm(x, axes=a, eps=e)", _LAYER_NORM),
    _approximate("layer_norm(x, w, axes=a, eps=e)", f"mul({_LAYER_NORM}, w)"),
    _approximate("layer_norm(x, w, b, axes=a, eps=e)", f"add(mul({_LAYER_NORM}, w), b)"),
    _approximate("rms_norm(x, axes=a, eps=e)", _RMS_NORM),
    _approximate("rms_norm(x, w, axes=a, eps=e)", f"mul({_RMS_NORM}, w)"),
    _approximate(
        "batch_norm(x, m, v, w, b, eps=e)",
        f"add(mul(x, reshape(s := mul(w, {_BATCH_NORM}), shape=channels(x))),"
        " reshape(sub(b, mul(m, s)), shape=channels(x)))",
    ),
)
PRODUCTS = (
    _approximate("linear(x, w)", "matmul(x, w, transpose_b=True)", "rank(x) > 1"),
    _approximate("linear(x, w, b)", "add(matmul(x, w, transpose_b=True), b)", "rank(x) > 1"),
    _approximate(
        "linear(x, w)", "reshape(linear(reshape(x, shape=(1, *shape(x))), w), shape=shape(result))", "rank(x) == 1"
    ),
    _approximate(
        "linear(x, w, b)",
        "reshape(linear(reshape(x, shape=(1, *shape(x))), w, b), shape=shape(result))",
        "rank(x) == 1",
    ),
    _approximate(
        "avg_pool2d(x, kernel=k, stride=s, padding=p, count_include_pad=c)",
        "div(pool2d(x, combine='add', kernel=k, stride=s, padding=p),"
        " full(value=k[0] * k[1], shape=(), dtype=dtype(x)))",
        "c or tuple(p) == (0, 0)",
    ),
    _approximate(
        "avg_pool2d(x, kernel=k, stride=s, padding=p, count_include_pad=False)",
        "div(pool2d(x, combine='add', kernel=k, stride=s, padding=p), pool2d(full(value=1.0,"
        " shape=(1, 1, *shape(x)[2:]), dtype=dtype(x)), combine='add', kernel=k, stride=s, padding=p))",
    ),
)


def _attention(pattern: str, masked: str, where: str = "True", hides_all: bool = False) -> Rule:
    """Attention whose scores [B, H, T, S], before the softmax, are `masked`, an expression of them (`{scores}`).

    A row's probabilities are e / sum(e), and its result sum(e v) / sum(e): divided by the sum are K numbers instead
    of S. Where a mask may hide all of a row, the row's result is 0, as torch's is: e is then 0 everywhere, as the
    greatest score counts as 0; the sum, else 1 at least, counts as 1.
    """
    scores = masked.format(
        scores="reshape(mul(matmul(reshape(q, shape=grouped(q, k, shape(q)[3])), k, transpose_b=True),"
        " full(value=c, shape=(), dtype=dtype(q))), shape=scores(q, k))"
    )
    greatest, total = (f"reduce({{}}, combine='{combine}', axes=(3,), keepdim=True)" for combine in ("max", "add"))
    greatest, total = greatest.format("s"), total.format("e")
    if hides_all:
        greatest, total = f"select(eq(top := {greatest}, -1e999), 0, top)", f"max({total}, 1)"
    weights = f"reshape(e := exp(sub(s := {scores}, {greatest})), shape=grouped(q, k, shape(k)[2]))"
    mixed = f"matmul({weights}, v, transpose_b=False)"
    return _approximate(
        pattern, f"reshape(mul({mixed}, reshape(div(1, {total}), shape=grouped(q, k, 1))), shape=shape(result))", where
    )


_CAUSAL = "select(le(iota(axis=1, shape=scores(q, k)[2:]), iota(axis=0, shape=scores(q, k)[2:])), {scores}, -1e999)"
_MASKED = "scaled_dot_product_attention(q, k, v, m, is_causal=False, scale=c)"
ATTENTION = (
    _attention("scaled_dot_product_attention(q, k, v, is_causal=False, scale=c)", "{scores}"),
    _attention("scaled_dot_product_attention(q, k, v, is_causal=True, scale=c)", _CAUSAL),
    _attention(_MASKED, "select(m, {scores}, -1e999)", "dtype(m) == 'bool'", hides_all=True),
    _attention(_MASKED, "add({scores}, m)", "dtype(m) != 'bool'", hides_all=True),
)
DECOMPOSITIONS = (*_widened(), *ACTIVATIONS, *POWERS, *SUMS, *NORMS, *PRODUCTS, *ATTENTION)


def decompose(graph: Graph) -> Rewritten:
    """The graph in core operators."""
    return rewrite(graph, DECOMPOSITIONS)
