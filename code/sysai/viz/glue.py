"""Numbers that prose quotes from a cell, so that text and computation can't disagree.

`glue("name", value)` stores the value in the cell's output; the prose inserts it where it says
``{glue:text}`name` `` (or ``{glue:text}`name:.1f` `` with a Python format). It writes what MyST-NB's own `glue`
writes, and needs nothing but IPython, so that a notebook runs where only this package is installed.
"""

from __future__ import annotations

from IPython.display import display

MIME_PREFIX = "application/papermill.record/"


def glue(name: str, value: int | float | str) -> None:
    """Store `value` under `name` in the output of this cell.

    Raises:
        TypeError: if the value is neither a number nor a string: convert it first, for example with `float`.
    """
    if not isinstance(value, int | float | str):
        raise TypeError(f"glue({name!r}): {type(value).__name__} is not a number or a string; convert it first.")
    display(
        {f"{MIME_PREFIX}text/plain": repr(value)},
        metadata={"scrapbook": {"name": name, "mime_prefix": MIME_PREFIX}},
        raw=True,
    )
