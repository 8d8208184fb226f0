"""Pictures made of characters: they work in a terminal, on a page, and in a workflow's summary."""

from collections.abc import Mapping

_ROWS, _COLUMNS = 16, 64
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(values: Mapping[str, float], width: int = 40) -> str:
    """One bar a name, the longest `width` characters; negative values have none."""
    longest = max([*values.values(), 0.0]) or 1.0
    column = max(map(len, values), default=0)
    return "\n".join(
        f"{name:<{column}}  {_bar(max(0.0, value) / longest * width):<{width}}  {value:g}"
        for name, value in values.items()
    )


def right_and_wrong(right) -> str | None:
    """A mask of right elements, `·` right and `█` wrong; leading axes are rows. None for fewer than 2 elements."""
    if right.numel() < 2:
        return None
    grid = right.reshape(-1, right.shape[-1]).tolist()
    lines = ["".join("·" if ok else "█" for ok in row[:_COLUMNS]) + "…" * (len(row) > _COLUMNS) for row in grid]
    return "\n".join(lines[:_ROWS] + ["…"] * (len(lines) > _ROWS))


def _bar(length: float) -> str:
    whole, part = divmod(round(length * 8), 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[part] if part else "")
