"""The exceptions that callers of the compiler catch; each message says what is wrong and what to do."""

# ruff: noqa: N818, the names say what the graph, the program or the schedule is


class InvalidGraph(ValueError):
    """A graph, or a node of it, that has no meaning; the message names the node and what does not go together."""


class UnsupportedOperator(ValueError):
    """The user's module applies an operator that the compiler lacks; the message names it and its line."""


class InvalidRule(ValueError):
    """A rewrite rule that cannot be read, or whose replacement is not of the type of the pattern."""


class IllegalFusion(ValueError):
    """Nodes that cannot run as one kernel; the message says why."""


class InvalidProgram(ValueError):
    """A tensor program breaks a rule of `tir/statement.py`."""


class ParseError(ValueError):
    """A text that is not a tensor program; the message begins with the line."""


class UndefinedResult(ValueError):
    """A tensor program does what has no meaning; the message says which block, and where."""


class EmptyReduction(UndefinedResult):
    """A block would initialize elements in the first of its iterations, of which there are none."""


class IllegalSchedule(ValueError):
    """A schedule primitive would change what the function computes, or names a loop or block that is not there."""


class ToolchainError(RuntimeError):
    """There is no C compiler, or it does not do its work; the message says which and what to do."""


class UnsupportedGroup(ValueError):
    """A group of nodes that the Triton backend has no kernel for; the message says which node, and what to do."""


class ModelUnavailable(RuntimeError):
    """The library for learning a cost model is not installed; the message says what to do."""
