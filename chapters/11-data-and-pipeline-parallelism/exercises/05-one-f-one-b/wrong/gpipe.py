"""Runs all micro-batches forward, then all backward."""


def one_f_one_b(stage, stages, microbatches):
    return [("F", j) for j in range(microbatches)] + [("B", j) for j in range(microbatches)]
