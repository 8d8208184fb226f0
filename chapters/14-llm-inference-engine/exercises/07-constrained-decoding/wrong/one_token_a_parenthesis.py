"""Counts one token for each open parenthesis, whatever the vocabulary has."""

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
