"""Goes backward with the newest micro-batch, as a stack would."""


def one_f_one_b(stage, stages, microbatches):
    warmup = min(stages - stage, microbatches)
    order = [("F", j) for j in range(warmup)]
    stack = list(range(warmup))
    for j in range(microbatches):
        order.append(("B", stack.pop()))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
            stack.append(warmup + j)
    return order
