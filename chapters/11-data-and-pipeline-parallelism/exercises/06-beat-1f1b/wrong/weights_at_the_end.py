"""Puts all W at the end, with all micro-batches still held."""

from sysai.parallel.pipeline import schedules


def schedule(forward, backward, weight, message, microbatches, held):
    orders = []
    for order in schedules.zb_h1(len(forward), microbatches).orders:
        passes = [(operation.kind, operation.microbatch) for operation in order]
        orders.append([x for x in passes if x[0] != "W"] + [x for x in passes if x[0] == "W"])
    return orders
