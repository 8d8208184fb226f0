"""The one exception of this package."""


class IllegalSchedule(ValueError):  # noqa: N818, it says what the schedule is
    """A primitive was refused; the message says why, and what to do instead. The program is as before."""
