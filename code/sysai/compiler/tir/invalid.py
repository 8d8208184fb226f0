"""The exception of verification."""


class InvalidProgram(ValueError):  # noqa: N818, it says what the program is
    """A tensor program breaks a rule of `statement.py`."""
