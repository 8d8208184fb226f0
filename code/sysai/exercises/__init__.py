"""The exercises of the book: found, started, and checked in a process of their own.

`sysai check 01/speed-limit` in a terminal, or in a notebook `%load_ext sysai.exercises` and a cell that begins with
`%%exercise 01/speed-limit`. The grader keeps the check, its reference results and its random inputs to itself; the
answer runs in another process, from which only plain data comes back.
"""


def load_ipython_extension(shell: object) -> None:
    """Add the cell magic `%%exercise` to a notebook; called by ``%load_ext sysai.exercises``."""
    from sysai.exercises.magic import register

    register(shell)
