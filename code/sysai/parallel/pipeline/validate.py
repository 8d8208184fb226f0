"""Is a schedule right? Every pass once, after what it needs, and no circle of devices that wait for each other.

Devices run their passes in order and block where a value is missing; senders never block. Under these rules a
schedule runs to its end in every timing or in none, so that executing it once, without time, proves it.
Production checks the same before the first step (`_validate_schedule` of torch.distributed.pipelining).
"""

from collections import Counter

from sysai.parallel.pipeline.schedules import BW, KINDS, F, Operation, PassOutput, PipelineSchedule


def validate(schedule: PipelineSchedule) -> list[Operation]:
    """All operations of a right schedule, in an order in which each finds what it needs.

    Raises:
        ValueError: what is wrong, with the operation and its device.
    """
    _check_operations(schedule)
    _check_counts(schedule)
    _check_order_on_devices(schedule)
    return _execute(schedule)


def _execute(schedule: PipelineSchedule) -> list[Operation]:
    order: list[Operation] = []
    computed: set[PassOutput] = set()
    position = [0] * schedule.devices
    before = -1
    while before < len(order):
        before = len(order)
        for device, operations in enumerate(schedule.orders):
            while position[device] < len(operations) and computed.issuperset(
                schedule.needs(operation := operations[position[device]])
            ):
                order.append(operation)
                computed.add(schedule.gives(operation))
                position[device] += 1
    if len(order) < sum(map(len, schedule.orders)):
        raise ValueError(_deadlock(schedule, position, computed))
    return order


def _check_operations(schedule: PipelineSchedule) -> None:
    for device, operations in enumerate(schedule.orders):
        for operation in operations:
            kind, stage, j = operation
            if kind not in KINDS or not 0 <= stage < schedule.stages or not 0 <= j < schedule.microbatches:
                raise ValueError(
                    f"{operation} on device {device}: kinds are {', '.join(KINDS)}, stages 0 to "
                    f"{schedule.stages - 1}, micro-batches 0 to {schedule.microbatches - 1}"
                )
            if schedule.device_of[stage] != device:
                raise ValueError(
                    f"{operation} is on device {device}: stage {stage} is held by device {schedule.device_of[stage]}"
                )


def _check_counts(schedule: PipelineSchedule) -> None:
    times = Counter(operation for operations in schedule.orders for operation in operations)
    for stage in range(schedule.stages):
        for j in range(schedule.microbatches):
            fused = times[Operation(BW, stage, j)] > 0
            for kind in KINDS:
                expected = int(kind == F or (kind == BW) == fused)
                if times[operation := Operation(kind, stage, j)] != expected:
                    raise ValueError(
                        f"{operation} stands {times[operation]} times in the schedule, it must be {expected}: "
                        f"each micro-batch passes a stage once as F, and once as B and W or as BW"
                    )


def _check_order_on_devices(schedule: PipelineSchedule) -> None:
    for device, operations in enumerate(schedule.orders):
        makers = {schedule.gives(operation): operation for operation in operations}
        computed: set[PassOutput] = set()
        for operation in operations:
            for value in schedule.needs(operation):
                if value in makers and value not in computed:
                    raise ValueError(
                        f"{operation} stands before {makers[value]} on device {device}, but needs the {value}: "
                        f"exchange them"
                    )
            computed.add(schedule.gives(operation))


def _deadlock(schedule: PipelineSchedule, position: list[int], computed: set[PassOutput]) -> str:
    """Every blocked device, its next operation, and what it waits for."""
    makers = {schedule.gives(o): (o, d) for d, operations in enumerate(schedule.orders) for o in operations}
    lines = []
    for device, operations in enumerate(schedule.orders):
        if position[device] < len(operations):
            operation = operations[position[device]]
            missing = next(value for value in schedule.needs(operation) if value not in computed)
            maker, elsewhere = makers[missing]
            lines.append(f"device {device} waits in {operation} for {maker} of device {elsewhere}")
    return "deadlock: " + "; ".join(lines) + ". Move what is waited for before the waiting operation of its device"
