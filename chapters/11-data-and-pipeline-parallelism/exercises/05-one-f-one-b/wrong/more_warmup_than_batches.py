"""Forgets that there may be fewer micro-batches than stages."""


def one_f_one_b(stage, stages, microbatches):
    warmup = stages - stage
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
