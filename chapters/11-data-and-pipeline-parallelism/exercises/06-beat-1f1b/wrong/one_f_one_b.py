"""1F1B itself, with the backward in one piece."""


def schedule(forward, backward, weight, message, microbatches, held):
    orders = []
    for stage in range(len(forward)):
        warmup = min(len(forward) - stage, microbatches)
        order = [("F", j) for j in range(warmup)]
        for j in range(microbatches):
            order.append(("BW", j))
            if warmup + j < microbatches:
                order.append(("F", warmup + j))
        orders.append(order)
    return orders
