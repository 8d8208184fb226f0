"""Which of eight hand-made schedules are wrong, and inputs that prove it."""


def verdicts() -> dict[str, str]:
    """Return for each name in BEFORE "sound", or the rule that AFTER breaks: "order", "domain" or "init"."""
    names = ("split", "overlap_copy", "lanes_sum", "interchange", "stage_previous")
    return dict.fromkeys(names, "sound") | {"stage_next": "order", "lanes_max": "init", "overlap_sum": "domain"}


def witness(name: str, rows: int, columns: int, row: int) -> list[list[float]]:
    """Return an input X on which a wrong program shows."""
    x = [[0.0] * columns for _ in range(rows)]
    if name == "lanes_max":  # the lanes begin with 0, and all values of the row are below
        x[row] = [-1.0] * columns
    elif name == "stage_next":  # column 3 reads column 4, which the next tile makes
        x[row][4] = 1.0
    else:  # the last tile begins at columns - 4, inside the one before
        x[row][columns - 4] = 1.0
    return x
