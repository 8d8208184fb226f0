"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "any_overlap",
        "Takes overlapping tiles for wrong wherever they occur.",
        told="The last tile begins earlier, so that some columns are",
        edits=[
            (
                """\
    names = ("split", "overlap_copy", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}""",
                """\
    names = ("split", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {
        "stage_next": "order",
        "lanes_max": "init",
        "overlap_sum": "domain",
        "overlap_copy": "domain",
    }""",
            ),
        ],
    ),
    Fault(
        "in_place_is_wrong",
        "Takes the in-place update under interchanged loops for the fault, instead of the shifted tile of a sum.",
        told="An element needs the one above it, in the same column. In",
        edits=[
            (
                """\
    names = ("split", "overlap_copy", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}""",
                """\
    names = ("split", "overlap_copy", "lanes_sum", "overlap_sum", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "interchange": "order"}""",
            ),
        ],
    ),
    Fault(
        "last_column",
        "Puts the double counted element at the end of the row, where it is counted once if one column is left over.",
        told="The last tile begins earlier. What happens to the columns",
        edits=[
            ("x[row][columns - 4] = 1.0", "x[row][columns - 1] = 1.0"),
        ],
    ),
    Fault(
        "one_negative",
        "Shows the lanes' wrong beginning by a row with one negative number.",
        told="What does a lane hold that has seen only negative numbers?",
        edits=[
            ("x[row] = [-1.0] * columns", "x[row] = [-1.0] + [0.0] * (columns - 1)"),
        ],
    ),
    Fault(
        "random_input",
        "Trusts random numbers to show each fault.",
        told="Only one row is to show the fault. What must the others",
        text='''\
import random


def verdicts() -> dict[str, str]:
    """Return for each name in BEFORE "sound", or the rule that AFTER breaks: "order", "domain" or "init"."""
    names = ("split", "overlap_copy", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}


def witness(name: str, rows: int, columns: int, row: int) -> list[list[float]]:
    """Return an input X on which a wrong program shows."""
    return [[random.randint(-64, 64) / 8 for _ in range(columns)] for _ in range(rows)]
''',
    ),
]
