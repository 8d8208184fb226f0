"""Warms every stage up as long as the first."""


def one_f_one_b(stage, stages, microbatches):
    warmup = min(stages, microbatches)
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
