"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "exponentials_twice",
        "Inlines the exponentials into both of their consumers.",
        told="Inlined into two consumers, each exponential is computed",
        edits=[
            (
                '    for block in ("row_sum", "exps", "row_max"):',
                '    s.compute_inline("exps")\n    for block in ("row_sum", "row_max"):',
            ),
            (
                """\
    chunk, lane = s.split(s.loops_of("exps")[-1], lanes)
    s.vectorize(lane)
    s.reverse_compute_at("row_sum", chunk)  # the sum takes the exponentials of a chunk as soon as they are there
    lane = s.loops_of("row_sum")[-1]""",
                '    _, lane = s.split(s.loops_of("row_sum")[-1], lanes)',
            ),
        ],
    ),
    Fault(
        "four_lanes",
        "Takes vectors of four lanes, whatever the machine has.",
        told="Split the loop over columns by the number of lanes and",
        edits=[
            (
                '    """Return the trace of a schedule of SOFTMAX, as `trace.to_json()` gives it."""',
                '''\
    """Return the trace of a schedule of SOFTMAX, as `trace.to_json()` gives it."""
    lanes = 4''',
            ),
        ],
    ),
    Fault(
        "four_sweeps",
        "Sums up the exponentials in a sweep of its own.",
        told="The sum can take the exponentials as soon as a few of them",
        edits=[
            (
                """\
    chunk, lane = s.split(s.loops_of("exps")[-1], lanes)
    s.vectorize(lane)
    s.reverse_compute_at("row_sum", chunk)  # the sum takes the exponentials of a chunk as soon as they are there
    lane = s.loops_of("row_sum")[-1]""",
                """\
    _, lane = s.split(s.loops_of("exps")[-1], lanes)
    s.vectorize(lane)
    _, lane = s.split(s.loops_of("row_sum")[-1], lanes)""",
            ),
        ],
    ),
    Fault(
        "maximum_apart",
        "Leaves the maximum in a nest of its own, so that x is loaded twice.",
        told="x is loaded more than once: two nests that read it are in",
        edits=[
            (
                'for block in ("row_sum", "exps", "row_max"):',
                'for block in ("row_sum", "exps"):',
            ),
        ],
    ),
    Fault(
        "scalar_reductions",
        "Leaves the reductions as they are, number by number, and vectorizes the rest.",
        told="Split the loop over columns by the number of lanes and",
        edits=[
            (
                """\
    lane = s.loops_of("row_sum")[-1]
    s.rfactor("row_sum", lane)
    s.vectorize(lane)

    _, lane = s.split(s.loops_of("row_max")[-1], lanes)
    s.rfactor("row_max", lane)
    s.vectorize(lane)
""",
                "",
            ),
        ],
    ),
    Fault(
        "unchanged",
        "Returns the trace of a schedule that changes nothing.",
        told="x is loaded more than once: two nests that read it are in",
        edits=[
            (
                """\
    row, column = s.loops_of("quotient")
    for block in ("row_sum", "exps", "row_max"):  # consumers first: a producer goes where its consumer is
        s.compute_at(block, row)
    s.parallel(row)

    chunk, lane = s.split(s.loops_of("exps")[-1], lanes)
    s.vectorize(lane)
    s.reverse_compute_at("row_sum", chunk)  # the sum takes the exponentials of a chunk as soon as they are there
    lane = s.loops_of("row_sum")[-1]
    s.rfactor("row_sum", lane)
    s.vectorize(lane)

    _, lane = s.split(s.loops_of("row_max")[-1], lanes)
    s.rfactor("row_max", lane)
    s.vectorize(lane)

    _, lane = s.split(column, lanes)
    s.vectorize(lane)
""",
                "",
            ),
        ],
    ),
    Fault(
        "number_of_steps",
        "Returns the length of the trace.",
        edits=[("return s.trace.to_json()", "return len(s.trace)")],
    ),
    Fault(
        "other_names",
        "Returns a trace that names other loops.",
        edits=[("return s.trace.to_json()", 'return s.trace.to_json().replace("row_max", "row_maximum")')],
        told="Return the trace.to_json() of a Schedule of the starter's",
    ),
    Fault(
        "too_many_loops",
        "Splits a loop again and again.",
        edits=[("    s.parallel(row)\n", "    for _ in range(10):\n        row, _ = s.split(row, 1)\n")],
    ),
    Fault(
        "two_partial_results_a_lane",
        "Keeps two partial maxima for each lane, and combines them all.",
        edits=[
            (
                '_, lane = s.split(s.loops_of("row_max")[-1], lanes)\n    s.rfactor("row_max", lane)\n',
                '_, lane = s.split(s.loops_of("row_max")[-1], 2 * lanes)\n    s.rfactor("row_max", lane)\n'
                "    _, lane = s.split(lane, lanes)\n",
            )
        ],
        told="Lanes are combined in every chunk.",
    ),
    Fault(
        "carried_through_memory",
        "Computes maximum and exponentials in one loop over rows, sum and quotient in another.",
        edits=[
            (
                'for block in ("row_sum", "exps", "row_max"):  '
                "# consumers first: a producer goes where its consumer is\n"
                "        s.compute_at(block, row)\n",
                's.compute_at("row_sum", row)\n    s.compute_at("row_max", s.loops_of("exps")[0])\n',
            ),
            (
                's.reverse_compute_at("row_sum", chunk)  '
                "# the sum takes the exponentials of a chunk as soon as they are there\n"
                '    lane = s.loops_of("row_sum")[-1]',
                '_, lane = s.split(s.loops_of("row_sum")[-1], lanes)',
            ),
        ],
        told="e travels through memory.",
    ),
]
