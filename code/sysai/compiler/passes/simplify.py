"""Algebraic simplification, as rules, only where the result is the same in every bit (but for which NaN it is).

Floating-point numbers obey fewer laws than real ones, so that much of what a student would write is not here:

    x + 0 -> x        wrong for x = -0, as -0 + 0 = 0; x + (-0) and x - 0 are right
    x * 0 -> 0        wrong for NaN and the infinities, and gives 0 for -0
    x - x -> 0        wrong for NaN and the infinities;  x / x -> 1 also for 0
    (x + a) + b       -> x + (a + b) rounds otherwise; the same for products, and for distributing
    x / c -> x * (1 / c)  rounds twice, unless c is a power of two
    exp(log(x)), sqrt(x * x), rsqrt for 1 / sqrt  round otherwise

For integers, whose arithmetic wraps around, the first three hold. torch's own `-ffast-math` counterparts, and XLA's
algebraic simplifier by a flag, take some of these liberties; `decompose` takes none that torch does not take.
"""

from sysai.compiler.graph import Graph
from sysai.compiler.passes.rewrite import Rewritten, Rule, rewrite

_INTEGER = "dtype(x) in INTEGERS"

RESHAPES = (
    Rule("reshape(x, shape=s)", "x", "same_shape(shape(x), s)"),
    Rule("reshape(reshape(x), shape=s)", "reshape(x, shape=s)"),
)
TRANSPOSES = (  # not exact: a BLAS may sum in another order when its operand lies otherwise
    Rule("matmul(a, permute(b, order=p), transpose_b=t)", "matmul(a, b, transpose_b=not t)", "swaps_last(p)", False),
)
SIMPLIFICATIONS = (
    # neutral elements
    Rule("mul(x, 1)", "x"),
    Rule("div(x, 1)", "x"),
    Rule("add(x, -0.0)", "x", "dtype(x) in FLOATS"),
    Rule("sub(x, 0.0)", "x"),
    Rule("add(x, 0)", "x", _INTEGER),
    Rule("floordiv(x, 1)", "x", _INTEGER),
    Rule("max(x, -1e999)", "x"),
    Rule("min(x, 1e999)", "x"),
    Rule("and_(x, True)", "x"),
    Rule("or_(x, False)", "x"),
    Rule("eq(x, True)", "x"),
    Rule("ne(x, False)", "x"),
    # elements that decide
    Rule("mul(x, 0)", "full(value=0, shape=shape(result), dtype=dtype(x))", _INTEGER),
    Rule("sub(x, x)", "full(value=0, shape=shape(x), dtype=dtype(x))", _INTEGER),
    Rule("and_(x, False)", "full(value=False, shape=shape(result), dtype='bool')"),
    Rule("or_(x, True)", "full(value=True, shape=shape(result), dtype='bool')"),
    # what is done twice
    Rule("max(x, x)", "x"),
    Rule("min(x, x)", "x"),
    Rule("and_(x, x)", "x"),
    Rule("or_(x, x)", "x"),
    Rule("max(max(x, y), y)", "max(x, y)"),
    Rule("min(min(x, y), y)", "min(x, y)"),
    Rule("abs(abs(x))", "abs(x)"),
    Rule("floor(floor(x))", "floor(x)"),
    Rule("eq(eq(x, False), False)", "x"),
    # signs
    Rule("mul(mul(x, -1), -1)", "x"),
    Rule("add(x, mul(y, -1))", "sub(x, y)"),
    Rule("sub(x, mul(y, -1))", "add(x, y)"),
    Rule("abs(mul(x, -1))", "abs(x)"),
    Rule("mul(mul(x, -1), mul(y, -1))", "mul(x, y)"),
    # cheaper operators
    Rule(
        "div(x, full(value=c))",
        "mul(x, full(value=1 / c, shape=(), dtype=dtype(x)))",
        "is_reciprocal_exact(c, dtype(x))",
    ),
    # choices
    Rule("select(c, x, x)", "x"),
    Rule("select(full(value=c), x, y)", "x", "c is True"),
    Rule("select(full(value=c), x, y)", "y", "c is False"),
    Rule("select(eq(c, False), x, y)", "select(c, y, x)"),
    Rule("select(c, select(c, x, y), z)", "select(c, x, z)", "same_shape(shape(c), shape(result))"),
    # casts
    Rule("cast(x, dtype=d)", "x", "dtype(x) == d"),
    Rule("cast(cast(x, dtype=w), dtype=d)", "cast(x, dtype=d)", "casts_exactly(dtype(x), w)"),
    # movements
    *RESHAPES,
    Rule("permute(x, order=p)", "x", "list(p) == sorted(p)"),
    Rule("permute(permute(x, order=p), order=q)", "permute(x, order=compose(p, q))"),
    Rule("permute(x, order=p)", "reshape(x, shape=shape(result))", "moves_only_ones(x, p)"),
    Rule("expand(x, shape=s)", "x", "same_shape(shape(x), s)"),
    Rule("expand(expand(x), shape=s)", "expand(x, shape=s)"),
    Rule("slice(x, start=a, stop=b, step=1)", "x", "same_shape(shape(x), shape(result))"),
    Rule(
        "slice(slice(x, axis=i, start=a, step=1), axis=i, start=b, stop=c, step=1)",
        "slice(x, axis=i, start=a + b, stop=a + c, step=1)",
    ),
    Rule("concat(x, axis=i)", "x"),
    Rule("pad(x)", "x", "same_shape(shape(x), shape(result))"),
    Rule("reduce(x, axes=())", "x"),
    Rule("reshape(full(value=v, dtype=d), shape=s)", "full(value=v, shape=s, dtype=d)"),
    Rule("permute(full(value=v, dtype=d))", "full(value=v, shape=shape(result), dtype=d)"),
    Rule("expand(full(value=v, dtype=d), shape=s)", "full(value=v, shape=s, dtype=d)"),
    Rule("slice(full(value=v, dtype=d))", "full(value=v, shape=shape(result), dtype=d)"),
    *TRANSPOSES,
    # operands that broadcasting repeats anyway
    *(
        rule
        for op in ("add", "sub", "mul", "div", "min", "max")
        for rule in (
            Rule(f"{op}(expand(x), y)", f"{op}(x, y)", "broadcasts_to(x, y, result)"),
            Rule(f"{op}(x, expand(y))", f"{op}(x, y)", "broadcasts_to(x, y, result)"),
        )
    ),
)


def simplify_graph(graph: Graph) -> Rewritten:
    """The graph with fewer or cheaper nodes that compute the same."""
    return rewrite(graph, SIMPLIFICATIONS)
