"""Lets digits follow a 0."""

from math import inf

State = tuple[int, str]


def advance(state: State, text: str, max_depth: int) -> State | None:
    opened, last = state
    for character in text:
        if character in "0123456789" and last == "operand":
            last = "zero" if character == "0" else "number"
        elif character in "0123456789" and last in ("number", "zero"):
            last = "number"
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
    fewest = _fewest(vocabulary, max_depth)
    may = [bool(text) and fewest.get(advance(state, text, max_depth), inf) <= tokens_left - 1 for text in vocabulary]
    may[end_id] = _is_complete(state) and tokens_left >= 1
    return may


def _is_complete(state: State) -> bool:
    opened, last = state
    return not opened and last != "operand"


def _fewest(vocabulary: list[str], max_depth: int) -> dict[State, int]:
    states = [(n, last) for n in range(max_depth + 1) for last in ("operand", "zero", "number", "closed")]
    steps = {state: {advance(state, text, max_depth) for text in vocabulary if text} - {None} for state in states}
    fewest = {state: 1 for state in states if _is_complete(state)}
    frontier = set(fewest)
    while frontier:
        frontier = {state for state in states if state not in fewest and steps[state] & frontier}
        distance = max(fewest.values()) + 1
        fewest.update(dict.fromkeys(frontier, distance))
    return fewest
