"""The pipeline schedule 1F1B, one stage at a time."""


def one_f_one_b(stage: int, stages: int, microbatches: int) -> list[tuple[str, int]]:
    """Return what a stage does, in order: ("F", j) forward, ("B", j) backward.

    Args:
        stage: 0 is the first stage, stages - 1 the last.
        stages: how many there are, at least 1.
        microbatches: how many there are, at least 1; j counts from 0.

    Never more than min(stages - stage, microbatches) micro-batches in flight.
    With forwards of 1 and backwards of 2 units of time, all stages are done
    after 3 * (microbatches + stages - 1) units.

    Example: stage 1 of 3, 4 micro-batches: F0 F1 B0 F2 B1 F3 B2 B3, as pairs.
    """
    raise NotImplementedError
