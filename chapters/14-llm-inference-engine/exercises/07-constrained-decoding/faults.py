"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "depth_at_the_end_only",
        "Compares the depth with max_depth when the whole token has been read.",
        told="More than max_depth parentheses are open on the way, even",
        edits=[
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                'elif character == "(" and last == "operand" and opened < max_depth:',
                'elif character == "(" and last == "operand":',
            ),
            ("return opened, last", "return (opened, last) if opened <= max_depth else None"),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
''',
                "",
            ),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
    Fault(
        "end_token_forgotten",
        "Forgets that the end token takes one of the tokens left, too.",
        told="One token too many: tokens_left counts this token as well",
        edits=[
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1 for text in vocabulary]''',
                """\
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and fewest.get(advance(state, text, max_depth), inf) <= tokens_left for text in vocabulary]""",
            ),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
    Fault(
        "ends_anywhere",
        "Allows the end token at any time.",
        told="You allow the end token where the text is not a whole",
        edits=[
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
''',
                "",
            ),
            ("may[end_id] = _is_complete(state) and tokens_left >= 1", "may[end_id] = tokens_left >= 1"),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
    Fault(
        "first_character_only",
        "Looks at the first character of a token only.",
        told="You looked at the first character of each token. All of",
        text="""\
State = tuple[int, str]


def advance(state: State, text: str, max_depth: int) -> State | None:
    opened, last = state
    for character in text:
        if character in "0123456789" and last == "operand":
            last = "zero" if character == "0" else "number"
        elif character in "0123456789" and last == "number":
            pass
        elif character == "(" and last == "operand" and opened < max_depth:
            opened += 1
        elif character == ")" and last != "operand" and opened:
            opened, last = opened - 1, "closed"
        elif character in "+-*/" and last != "operand":
            last = "operand"
        else:
            return None
    return opened, last


def allowed(state: State, vocabulary: list[str], end_id: int, tokens_left: int, max_depth: int) -> list[bool]:
    may = [bool(text) and advance(state, text[0], max_depth) is not None for text in vocabulary]
    may[end_id] = _is_complete(state) and tokens_left >= 1
    return may


def _is_complete(state: State) -> bool:
    opened, last = state
    return not opened and last != "operand"
""",
    ),
    Fault(
        "leading_zeros",
        "Lets digits follow a 0.",
        told="Character 1 ('0') can't stand there. All must be legal, not",
        edits=[
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                """\
        elif character in "0123456789" and last == "number":
            pass""",
                '        elif character in "0123456789" and last in ("number", "zero"):\n            last = "number"',
            ),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
''',
                "",
            ),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
    Fault(
        "never_looks_ahead",
        "Allows whatever is legal now, and runs into dead ends.",
        told="All of these are legal now, but behind some the way to the",
        text="""\
State = tuple[int, str]


def advance(state: State, text: str, max_depth: int) -> State | None:
    opened, last = state
    for character in text:
        if character in "0123456789" and last == "operand":
            last = "zero" if character == "0" else "number"
        elif character in "0123456789" and last == "number":
            pass
        elif character == "(" and last == "operand" and opened < max_depth:
            opened += 1
        elif character == ")" and last != "operand" and opened:
            opened, last = opened - 1, "closed"
        elif character in "+-*/" and last != "operand":
            last = "operand"
        else:
            return None
    return opened, last


def allowed(state: State, vocabulary: list[str], end_id: int, tokens_left: int, max_depth: int) -> list[bool]:
    may = [bool(text) and advance(state, text, max_depth) is not None for text in vocabulary]
    may[end_id] = _is_complete(state) and tokens_left >= 1
    return may


def _is_complete(state: State) -> bool:
    opened, last = state
    return not opened and last != "operand"
""",
    ),
    Fault(
        "one_token_a_parenthesis",
        "Counts one token for each open parenthesis, whatever the vocabulary has.",
        told="You counted a token for each parenthesis that is open. A",
        text="""\
from math import inf

State = tuple[int, str]


def advance(state: State, text: str, max_depth: int) -> State | None:
    opened, last = state
    for character in text:
        if character in "0123456789" and last == "operand":
            last = "zero" if character == "0" else "number"
        elif character in "0123456789" and last == "number":
            pass
        elif character == "(" and last == "operand" and opened < max_depth:
            opened += 1
        elif character == ")" and last != "operand" and opened:
            opened, last = opened - 1, "closed"
        elif character in "+-*/" and last != "operand":
            last = "operand"
        else:
            return None
    return opened, last


def allowed(state: State, vocabulary: list[str], end_id: int, tokens_left: int, max_depth: int) -> list[bool]:
    may = [bool(text) and _estimate(advance(state, text, max_depth)) <= tokens_left - 1 for text in vocabulary]
    may[end_id] = _is_complete(state) and tokens_left >= 1
    return may


def _is_complete(state: State) -> bool:
    opened, last = state
    return not opened and last != "operand"


def _estimate(state: State | None) -> float:
    return inf if state is None else state[0] + (state[1] == "operand") + 1
""",
    ),
    Fault(
        "special_tokens_allowed",
        "Allows tokens without text, which change nothing.",
        told="You allow a special token without text: it changes nothing,",
        edits=[
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1 for text in vocabulary]''',
                """\
    fewest = _fewest(vocabulary, max_depth)
    may = [fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1 for text in vocabulary]""",
            ),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
    Fault(
        "tokens_left_ignored",
        "Asks whether there is an end, and not how far it is.",
        told="All of these are legal now, but behind some the way to the",
        edits=[
            (
                """\

from math import inf
""",
                "",
            ),
            (
                '''\
    """Return the state behind `text`, character by character."""
''',
                "",
            ),
            (
                '''\
    """Return the tokens behind which few enough others suffice."""
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1 for text in vocabulary]''',
                """\
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and advance(state, text, max_depth) in fewest for text in vocabulary]""",
            ),
            (
                '''\
    """The fewest tokens from a state to the end, the end token included; a state that never ends is missing."""
''',
                "",
            ),
            ("while frontier:  # breadth first, backwards from the end", "while frontier:"),
        ],
    ),
]
