"""Trusts random numbers to show each fault."""

import random


def verdicts() -> dict[str, str]:
    """Return for each name in BEFORE "sound", or the rule that AFTER breaks: "order", "domain" or "init"."""
    names = ("split", "overlap_copy", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}


def witness(name: str, rows: int, columns: int, row: int) -> list[list[float]]:
    """Return an input X on which a wrong program shows."""
    return [[random.randint(-64, 64) / 8 for _ in range(columns)] for _ in range(rows)]
