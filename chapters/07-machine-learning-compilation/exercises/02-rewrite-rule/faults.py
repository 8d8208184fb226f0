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
]
