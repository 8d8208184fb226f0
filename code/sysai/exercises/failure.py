"""Why an answer did not pass: a reason for machines, and the facts that a report shows to its reader."""

from dataclasses import dataclass

from sysai.core.language import Text

BY_COMPARISON = ("wrong_value", "wrong_type", "too_much")

REASONS = (
    *BY_COMPARISON,
    # said by the answer itself
    "not_implemented",
    "missing_function",
    "syntax_error",
    "import_error",
    "exception",
    # ended by the grader or the system
    "time",
    "memory",
    "output",
    "processes",
    "too_large",
    "ended",
    "tampering",
    # a fault of the check
    "check_failed",
)


@dataclass
class Failed(Exception):  # noqa: N818
    """Ends a check. `message` is a sentence; `frames` are (line, function) pairs of the answer, outermost first."""

    reason: str
    message: Text
    expected: Text | None = None
    got: Text | None = None
    hint: Text | None = None
    error: str | None = None
    frames: tuple[tuple[int, str], ...] = ()
    picture: Text | None = None

    def __post_init__(self):
        assert self.reason in REASONS, self.reason
        super().__init__(self.reason)


def both(text: str) -> Text:
    """A text that is the same in both languages."""
    return Text(text, text)
