"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

RULES = '{"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}'
RESULT = "    return x\n"

FAULTS = [
    Fault(
        "a_list",
        "Returns names in place of a dict.",
        edits=[("return dict.fromkeys(names", "return list(names) or dict.fromkeys(names")],
    ),
    Fault("one_forgotten", "Gives no verdict on one program.", edits=[('"split", ', "")]),
    Fault(
        "any_overlap",
        "Takes overlapping tiles for wrong wherever they occur.",
        edits=[(RULES, RULES.replace("{", '{"overlap_copy": "domain", '))],
        told="The last tile begins earlier, so that some columns are",
    ),
    Fault(
        "in_place_is_wrong",
        "Takes the in-place update under interchanged loops for a fault.",
        edits=[(RULES, RULES.replace("{", '{"interchange": "order", '))],
        told="An element needs the one above it, in the same column. In",
    ),
    Fault(
        "predicate_is_wrong",
        "Takes a predicate at the end of a row for a fault.",
        edits=[(RULES, RULES.replace("{", '{"split": "order", '))],
        told="The predicate leaves out what is beyond the row",
    ),
    Fault(
        "other_order_is_wrong",
        "Takes another order of a sum for a fault.",
        edits=[(RULES, RULES.replace("{", '{"lanes_sum": "order", '))],
        told="Each lane begins with 0 and adds every fourth column.",
    ),
    Fault(
        "earlier_tile_is_wrong",
        "Takes what an earlier tile has made for missing.",
        edits=[(RULES, RULES.replace("{", '{"stage_previous": "order", '))],
        told="Follow the first column of a tile",
    ),
    Fault(
        "next_tile_is_there",
        "Does not see that an element of the next tile is read.",
        edits=[(RULES, RULES.replace('"stage_next": "order"', '"stage_next": "sound"'))],
        told="Follow the last column of a tile",
    ),
    Fault(
        "zero_is_neutral",
        "Takes 0 for the identity element of a maximum.",
        edits=[(RULES, RULES.replace('"lanes_max": "init"', '"lanes_max": "sound"'))],
        told="What does a lane hold that has seen only negative numbers?",
    ),
    Fault(
        "overlap_is_harmless",
        "Takes a shifted tile of a sum for as harmless as one of a copy.",
        edits=[(RULES, RULES.replace('"overlap_sum": "domain"', '"overlap_sum": "sound"'))],
        told="The last tile begins earlier. What happens to the columns",
    ),
    Fault(
        "other_rule",
        "Names another rule than the one that is broken.",
        edits=[(RULES, RULES.replace('"domain"', '"order"'))],
        told="This program is wrong indeed, but it breaks another",
    ),
    Fault("too_few_rows", "Returns one row.", edits=[(RESULT, "    return x[:1]\n")]),
    Fault(
        "thirds",
        "Returns numbers whose sums round.",
        edits=[(RESULT, "    return [[number / 3 for number in line] for line in x]\n")],
    ),
    Fault(
        "last_column",
        "Puts the element that is to count twice into the last column, which only the last tile visits.",
        edits=[("x[row][columns - 4] = 1.0", "x[row][columns - 1] = 1.0")],
        told="The last tile begins earlier. What happens to the columns",
    ),
    Fault(
        "one_negative",
        "Shows the lanes' wrong beginning by a row with one negative number.",
        edits=[("x[row] = [-1.0] * columns", "x[row] = [-1.0] + [0.0] * (columns - 1)")],
        told="What does a lane hold that has seen only negative numbers?",
    ),
    Fault(
        "random_input",
        "Trusts random numbers to show each fault.",
        edits=[
            (
                RESULT,
                "    from random import Random\n\n    random = Random(1)\n"
                "    return [[random.randint(-64, 64) / 8 for _ in line] for line in x]\n",
            )
        ],
        told="Only one row is to show the fault. What must the others",
    ),
]
