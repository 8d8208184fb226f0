"""The pipeline schedule 1F1B, one stage at a time."""


def one_f_one_b(stage: int, stages: int, microbatches: int) -> list[tuple[str, int]]:
    """Return what a stage does: warm up, then a backward for each forward."""
    warmup = min(stages - stage, microbatches)
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
