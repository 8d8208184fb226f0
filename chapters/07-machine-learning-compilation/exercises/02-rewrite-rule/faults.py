"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

LAST = '        Rule("abs(mul(x, x))", "mul(x, x)"),\n'
RESULT = "return print_graph(eliminate_dead_code(graph))"

FAULTS = [
    Fault(
        "any_factor",
        "Takes a factor out of a maximum whatever its sign.",
        told="A negative factor turns the larger of two numbers into the",
        edits=[('            "0 < c < 1e999",\n', "")],
    ),
    Fault(
        "any_order",
        "Takes every permutation of a product for its transpose.",
        told="This order of axes exchanges others than the last two. Say",
        edits=[('            "swaps_last(p)",\n', "")],
    ),
    Fault(
        "any_product",
        "Does not look whether the product already transposes its second operand.",
        told="This product has transpose_b=False: its transpose is",
        edits=[
            ('"permute(matmul(a, b, transpose_b=True), order=p)",', '"permute(matmul(a, b), order=p)",'),
        ],
    ),
    Fault(
        "minus_zero",
        "Drops an addition of zero, which makes 0 of -0.",
        told="-0 + 0 is 0, not -0.",
        edits=[(LAST, LAST + '        Rule("add(x, 0.0)", "x"),\n')],
    ),
    Fault(
        "zero_factor",
        "Takes a factor of 0 out of a maximum as well.",
        told="With the factor 0: what is 0 times infinity",
        edits=[("0 < c < 1e999", "0 <= c < 1e999")],
    ),
    Fault(
        "difference_is_zero",
        "Puts 0 for a difference of equal numbers, also of infinities and of NaN.",
        told="What is infinity minus infinity",
        edits=[(LAST, LAST + '        Rule("sub(x, x)", "full(value=0.0, shape=shape(x), dtype=dtype(x))"),\n')],
    ),
    Fault(
        "exponents_added",
        "Takes a product of exponentials for the exponential of a sum, as one may for real numbers.",
        told="Each exp rounds, and so does the product.",
        edits=[(LAST, LAST + '        Rule("mul(exp(x), exp(y))", "exp(add(x, y))"),\n')],
    ),
    Fault(
        "nan_lost",
        "Takes a choice by comparison for the maximum, which differs for NaN.",
        told="A comparison with NaN is false. Which of the two does",
        edits=[(LAST, LAST + '        Rule("select(lt(x, y), y, x)", "max(x, y)"),\n')],
    ),
    Fault(
        "choices_stay",
        "Leaves two exponentials where one is enough.",
        hint=Text(
            "Either way each element is exp of one number: choose first, then compute one exp.",
            "无论怎样，每个元素都是某一个数的exp：先选，再算一次exp就够了。",
        ),
        edits=[('        Rule("select(p, exp(x), exp(y))", "exp(select(p, x, y))"),\n', "")],
    ),
    Fault(
        "softmax_shift",
        "Drops a shift before a softmax, as one may for real numbers.",
        told="x + c rounds to a multiple of the last bit of c:",
        edits=[(LAST, LAST + '        Rule("softmax(add(x, full()), axis=i)", "softmax(x, axis=i)"),\n')],
    ),
    Fault(
        "number_of_nodes",
        "Returns the number of nodes in place of the text.",
        edits=[(RESULT, "return len(eliminate_dead_code(graph).nodes)")],
    ),
    Fault(
        "text_cut_off",
        "Returns a part of the text.",
        edits=[("print_graph(eliminate_dead_code(graph))", "print_graph(eliminate_dead_code(graph))[:-20]")],
    ),
    Fault(
        "logarithm",
        "Brings an operator into the graph that no identity needs.",
        edits=[('"exp(select(p, x, y))"', '"log(exp(exp(select(p, x, y))))"')],
    ),
    Fault(
        "ever_larger",
        "Puts a longer expression in the place of the absolute value of a square.",
        edits=[
            (
                'Rule("abs(mul(x, x))", "mul(x, x)")',
                'Rule("abs(mul(x, x))", "sub(add(add(add(mul(x, x), x), x), x), x)")',
            )
        ],
    ),
    Fault(
        "outputs_lost",
        "Returns the graph with its first output twice, in place of its outputs.",
        edits=[
            (
                RESULT,
                "from dataclasses import replace\n\n"
                "    graph = eliminate_dead_code(replace(graph, outputs=graph.outputs[:1] * 2))\n"
                "    return print_graph(graph)",
            )
        ],
    ),
    Fault(
        "products_stay",
        "Leaves the transposition of a product.",
        edits=[("swaps_last(p)", "1 < 0")],
        hint=Text(
            "A transposed product is a product: one node instead of two.",
            "乘积的转置还是乘积：两个节点可以换成一个。",
        ),
    ),
    Fault(
        "signs_stay",
        "Leaves the absolute values before a square.",
        edits=[('        Rule("mul(abs(x), abs(x))", "mul(x, x)"),\n', "")],
        hint=Text(
            "The sign of x does not matter for its square; the absolute values can go.",
            "平方与x的正负无关，绝对值可以去掉。",
        ),
    ),
    Fault(
        "factors_stay",
        "Leaves the factors inside a maximum.",
        edits=[('"0 < c < 1e999"', '"c < 0 < c"')],
        hint=Text(
            "For a positive factor the order of x and y is that of their multiples, rounding included.",
            "系数为正时，x与y的大小次序就是它们的倍数的次序，舍入之后也是如此。",
        ),
    ),
    Fault(
        "absolute_squares_stay",
        "Leaves the absolute value of a square.",
        edits=[(LAST, "")],
        hint=Text(
            "A square is never negative, and never -0.",
            "平方不会是负数，也不会是-0。",
        ),
    ),
]
