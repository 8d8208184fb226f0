"""The compiler's exceptions that callers catch, level by level; the messages say where, why, and what to do instead."""


class InvalidGraph(ValueError):  # noqa: N818, it says what the graph is
    """A graph, or a node of it, that has no meaning; the message names the node and what does not go together."""


class UnsupportedOperator(ValueError):  # noqa: N818
    """The user's module applies an operator that the compiler lacks; the message names it and its line."""


class InvalidRule(ValueError):  # noqa: N818
    """A rewrite rule that cannot be read, or whose replacement is not of the type of the pattern."""


class IllegalFusion(ValueError):  # noqa: N818
    """Nodes that cannot run as one kernel; the message says why."""
