"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "any_factor",
        "Takes a factor out of a maximum whatever its sign.",
        told="A negative factor turns the larger of two numbers into the",
        edits=[
            (
                """\
            "0 < c < 1e999",
""",
                "",
            ),
        ],
    ),
    Fault(
        "any_order",
        "Takes every permutation of a product for its transpose.",
        told="This order of axes exchanges others than the last two. Say",
        edits=[
            (
                """\
            "swaps_last(p)",
""",
                "",
            ),
        ],
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
        edits=[
            (
                '        Rule("abs(mul(x, x))", "mul(x, x)"),',
                """\
        Rule("abs(mul(x, x))", "mul(x, x)"),
        Rule("add(x, 0.0)", "x"),""",
            ),
        ],
    ),
    Fault(
        "nan_lost",
        "Takes a choice by comparison for the maximum, which differs for NaN.",
        told="A comparison with NaN is false. Which of the two does",
        edits=[
            (
                '        Rule("abs(mul(x, x))", "mul(x, x)"),',
                """\
        Rule("abs(mul(x, x))", "mul(x, x)"),
        Rule("select(lt(x, y), y, x)", "max(x, y)"),""",
            ),
        ],
    ),
    Fault(
        "one_missing",
        "Leaves two exponentials where one is enough.",
        told="Either way each element is exp of one number: choose first,",
        edits=[
            (
                """\
        Rule("select(p, exp(x), exp(y))", "exp(select(p, x, y))"),
""",
                "",
            ),
        ],
    ),
    Fault(
        "softmax_shift",
        "Drops a shift before a softmax, as one may for real numbers.",
        told="x + c rounds to a multiple of the last bit of c:",
        edits=[
            (
                '        Rule("abs(mul(x, x))", "mul(x, x)"),',
                """\
        Rule("abs(mul(x, x))", "mul(x, x)"),
        Rule("softmax(add(x, full()), axis=i)", "softmax(x, axis=i)"),""",
            ),
        ],
    ),
    Fault(
        "graph_itself",
        "Returns the number of nodes in place of the text.",
        edits=[("return print_graph(eliminate_dead_code(graph))", "return len(eliminate_dead_code(graph).nodes)")],
    ),
    Fault(
        "first_line",
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
                "return print_graph(eliminate_dead_code(graph))",
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
        told="A transposed product is a product",
    ),
    Fault(
        "signs_stay",
        "Leaves the absolute values before a square.",
        edits=[('        Rule("mul(abs(x), abs(x))", "mul(x, x)"),\n', "")],
        told="The sign of x does not matter for its square",
    ),
    Fault(
        "factors_stay",
        "Leaves the factors inside a maximum.",
        edits=[('"0 < c < 1e999"', '"c < 0 < c"')],
        told="For a positive factor the order of x and y",
    ),
    Fault(
        "absolute_squares",
        "Leaves the absolute value of a square.",
        edits=[('        Rule("abs(mul(x, x))", "mul(x, x)"),\n', "")],
        told="A square is never negative",
    ),
]
