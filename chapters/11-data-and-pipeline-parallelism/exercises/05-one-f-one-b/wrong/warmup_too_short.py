"""Warms up by one forward too few, and waits for gradients."""


def one_f_one_b(stage, stages, microbatches):
    warmup = min(max(1, stages - stage - 1), microbatches)
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
