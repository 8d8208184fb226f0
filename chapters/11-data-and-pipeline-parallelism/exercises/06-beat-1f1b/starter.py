"""A pipeline schedule made for the times of its stages."""


def schedule(
    forward: list[int], backward: list[int], weight: list[int], message: int, microbatches: int, held: int
) -> list[list[tuple[str, int]]]:
    """Return what each stage does, in order.

    Args:
        forward: time of ("F", j) on each stage, for any micro-batch j.
        backward: time of ("B", j), which gives the gradient of the input.
        weight: time of ("W", j), which gives the gradients of the weights.
        message: time from the end of a pass on one stage to its neighbour.
        microbatches: j goes from 0 to microbatches - 1.
        held: micro-batches that a stage may hold, from F to W, at once.

    Returns:
        One list for each stage: each micro-batch once as F, once as B and once
        as W, or as BW instead of these two.

    The time from the first start to the last end is at most L + (T - L) / 4,
    where T is that of 1F1B and L the largest, over the stages, of: all forwards
    and messages before the stage, plus all its own passes.
    """
    raise NotImplementedError
