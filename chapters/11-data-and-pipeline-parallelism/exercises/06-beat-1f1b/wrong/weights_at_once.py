"""Does every W directly behind its B, so that splitting the backward gains nothing."""

PRIORITY = "WBF"


def schedule(
    forward: list[int], backward: list[int], weight: list[int], message: int, microbatches: int, held: int
) -> list[list[tuple[str, int]]]:
    """Return the passes in the order in which they can start, B before F before W."""
    stages = len(forward)
    seconds = {"F": forward, "B": backward, "W": weight}
    done = [dict.fromkeys("FBW", 0) for _ in range(stages)]
    arrival = {("F", 0, j): 0 for j in range(microbatches)}  # of what a pass needs from another stage
    free = [0] * stages
    orders: list[list[tuple[str, int]]] = [[] for _ in range(stages)]

    def possible(stage: int) -> list[tuple[int, int, int, str]]:
        """(start, priority, stage, kind) of each pass that the stage could do next."""
        count, ready = done[stage], {}
        if count["F"] < microbatches and count["F"] - count["W"] < held:
            ready["F"] = arrival.get(("F", stage, count["F"]))
        if count["B"] < count["F"]:
            ready["B"] = arrival.get(("B", stage, count["B"]))
        if count["W"] < count["B"]:
            ready["W"] = 0
        return [
            (max(free[stage], time), PRIORITY.index(kind), stage, kind)
            for kind, time in ready.items()
            if time is not None
        ]

    for _ in range(3 * microbatches * stages):
        start, _, stage, kind = min(option for stage in range(stages) for option in possible(stage))
        j = done[stage][kind]
        done[stage][kind] += 1
        free[stage] = end = start + seconds[kind][stage]
        orders[stage].append((kind, j))
        if kind == "F" and stage + 1 < stages:
            arrival["F", stage + 1, j] = end + message
        elif kind == "F":
            arrival["B", stage, j] = end  # the last stage turns around
        elif kind == "B" and stage > 0:
            arrival["B", stage - 1, j] = end + message
    return orders
