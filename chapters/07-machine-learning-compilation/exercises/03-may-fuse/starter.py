"""Whether two groups of nodes may become one kernel."""


def may_fuse(
    kinds: dict[str, str],
    inputs: dict[str, list[str]],
    groups: list[list[str]],
    producer: str,
    consumer: str,
) -> str:
    """Return "yes", or a rule that the merged group breaks.

    Args:
        kinds: the class of each node, in an order in which they can run:
            "elementwise", "movement", "reduction", "matmul" or "opaque".
        inputs: for each node, the nodes whose results it takes. What comes
            from outside the graph is not listed.
        groups: all nodes, each in one group.
        producer, consumer: nodes of different groups; the consumer takes the
            producer's result. The question is about merging their groups.

    Returns:
        "yes", "opaque", "anchors", "order" or "cycle".
    """
    raise NotImplementedError
