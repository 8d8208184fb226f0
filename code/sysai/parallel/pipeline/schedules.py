"""Pipeline schedules as data: for every device, the order of its forward and backward passes.

A model is cut into stages, a batch of samples into micro-batches. A pass is (kind, stage, micro-batch):

    F   forward                                 needs the activation of the stage before
    B   backward for the input's gradient       needs its own forward, and the gradient of the next stage
    W   backward for the weights' gradients     needs its own B, and nobody waits for it
    BW  both in one                             as autograd does them

B and W are the zero-bubble paper's names. torch.distributed.pipelining calls B, W and BW `I`, `W` and `B`.

A schedule says nothing about time: what a device waits for follows from what its next pass needs. With p
devices, m micro-batches, equal stages and free communication (`simulate` times the other cases):

    schedule                   time lost                 micro-batches held    source
    GPipe                      (p-1)(F+B+W)              m                     arXiv 1811.06965, figure 2
    1F1B                       (p-1)(F+B+W)              p                     arXiv 2104.04473, figure 4
    interleaved, v chunks      (p-1)(F+B+W)/v            p + (p-1)/v           arXiv 2104.04473, section 2.2
    ZB-H1                      (p-1)(F+B-W)              p                     arXiv 2401.10241, table 2
    ZB-H2                      (p-1)(F+B-2W)             2p - 1                arXiv 2401.10241, table 2
    ZB-V                       0 if F = B = W            p                     arXiv 2401.10241, section 6

Production (Megatron-LM, torch.distributed.pipelining) adds schedules searched for measured times, communication as
operations of its own, and recomputation; DualPipe (arXiv 2412.19437) runs two directions at once.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

F, B, W, BW = KINDS = ("F", "B", "W", "BW")
GIVEN = {F: "activation", B: "gradient", BW: "gradient", W: "weight gradient"}
"""The name of the tensor that a pass of each kind computes."""


class Operation(NamedTuple):
    """One pass of one micro-batch through one stage; counting begins at 0."""

    kind: str
    stage: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.kind}(stage {self.stage}, micro-batch {self.microbatch})"


class PassOutput(NamedTuple):
    """The tensor that a pass computes: a stage's output ("activation"), its input's "gradient", a "weight gradient"."""

    name: str
    stage: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.name} of stage {self.stage}, micro-batch {self.microbatch}"


@dataclass(frozen=True)
class PipelineSchedule:
    """`orders[d]` is what device d does, in order; `device_of[s]` is the device that holds stage s.

    Hand-written schedules are welcome: `validate` says whether one is right.
    """

    name: str
    microbatches: int
    orders: tuple[tuple[Operation, ...], ...]
    device_of: tuple[int, ...]

    @property
    def devices(self) -> int:
        """Number of devices, p."""
        return len(self.orders)

    @property
    def stages(self) -> int:
        """Number of stages: p, or p times the chunks of a device."""
        return len(self.device_of)

    def stages_on(self, device: int) -> tuple[int, ...]:
        """The stages that `device` holds, ascending."""
        return tuple(stage for stage, holder in enumerate(self.device_of) if holder == device)

    def needs(self, operation: Operation) -> list[PassOutput]:
        """The values that must be on the device before `operation` can run."""
        kind, stage, j = operation
        if kind == F:
            return [PassOutput("activation", stage - 1, j)] if stage > 0 else []
        if kind == W:
            return [PassOutput("gradient", stage, j)]
        from_next = [PassOutput("gradient", stage + 1, j)] if stage + 1 < self.stages else []
        return [PassOutput("activation", stage, j), *from_next]

    def gives(self, operation: Operation) -> PassOutput:
        """The value that `operation` computes."""
        return PassOutput(GIVEN[operation.kind], operation.stage, operation.microbatch)

    def receiver(self, value: PassOutput) -> int | None:
        """The device to which `value` must be sent, or None where it stays on the one that computed it."""
        user = value.stage + {"activation": 1, "gradient": -1, "weight gradient": 0}[value.name]
        if not 0 <= user < self.stages or self.device_of[user] == self.device_of[value.stage]:
            return None
        return self.device_of[user]


def gpipe(p: int, m: int) -> PipelineSchedule:
    """All forwards, then all backwards, the last first: every device holds all m micro-batches at once."""
    _check(p, m)
    orders = [
        [Operation(F, s, j) for j in range(m)] + [Operation(BW, s, j) for j in reversed(range(m))] for s in range(p)
    ]
    return _schedule("GPipe", m, orders, range(p))


def one_f_one_b(p: int, m: int) -> PipelineSchedule:
    """After p - s forwards, stage s does a backward for each forward: as many in flight as hide the way back."""
    _check(p, m)
    orders = [_alternate(_slots(s, m), _slots(s, m), warmup=p - s) for s in range(p)]
    return _schedule("1F1B", m, orders, range(p))


def interleaved_1f1b(p: int, m: int, v: int) -> PipelineSchedule:
    """1F1B on p * v stages, stage s on device s mod p: the pipeline fills in steps of 1/v of a device's work.

    Micro-batches go in rounds of p: a device takes a round through its first chunk, then through its second ...

    Raises:
        ValueError: fewer than two chunks, or m not a multiple of p.
    """
    _check(p, m)
    if v < 2:
        raise ValueError(f"interleaving needs v >= 2 chunks on a device, got {v}: use one_f_one_b for one")
    if m % p:
        raise ValueError(f"interleaved 1F1B takes micro-batches in rounds of p: make m {m} a multiple of p {p}")
    orders = []
    for d in range(p):
        rounds = range(0, m, p)
        forwards = [(c * p + d, j) for r in rounds for c in range(v) for j in range(r, r + p)]
        backwards = [(c * p + d, j) for r in rounds for c in reversed(range(v)) for j in range(r, r + p)]
        orders.append(_alternate(forwards, backwards, warmup=(v - 1) * p + 2 * (p - d) - 1))
    return _schedule(f"interleaved 1F1B, {v} chunks", m, orders, [s % p for s in range(p * v)])


def zb_h1(p: int, m: int) -> PipelineSchedule:
    """1F1B whose stage s keeps s weight gradients for later: its B comes sooner, and W fills the end."""
    _check(p, m)
    orders = [_alternate(_slots(s, m), _slots(s, m), warmup=p - s, w_delay=s) for s in range(p)]
    return _schedule("ZB-H1", m, orders, range(p))


def zb_h2(p: int, m: int) -> PipelineSchedule:
    """Nearly twice the forwards before the first backward fill the start too, for nearly twice the memory."""
    _check(p, m)
    orders = [_alternate(_slots(s, m), _slots(s, m), warmup=2 * (p - s) - 1, w_delay=2 * s) for s in range(p)]
    return _schedule("ZB-H2", m, orders, range(p))


def zb_v(p: int, m: int) -> PipelineSchedule:
    """Stages go down the devices and up again, so that the first device gets the first gradient at once.

    Device d holds stages d and 2p - 1 - d. Its pattern goes on for ever; m cuts it off, which leaves gaps.
    """
    _check(p, m)
    orders = []
    for d in range(p):
        down, up, on = d, 2 * p - 1 - d, m + 2 * p
        forwards = [down] * (2 * (p - d) - 1) + [up, down] * d + [up] * (p - d) + [down, up] * on
        backwards = [up] * (p - d) + [down, up] * on
        orders.append(_alternate(_number(forwards, m), _number(backwards, m), 2 * p, w_delay=0, w_delay_at_end=2 * d))
    return _schedule("ZB-V", m, orders, [*range(p), *reversed(range(p))])


GENERATORS: dict[str, Callable[..., PipelineSchedule]] = {
    "gpipe": gpipe,
    "1f1b": one_f_one_b,
    "interleaved_1f1b": interleaved_1f1b,
    "zb_h1": zb_h1,
    "zb_h2": zb_h2,
    "zb_v": zb_v,
}

Slot = tuple[int, int] | None
"""(stage, micro-batch), or a gap."""


def _alternate(
    forwards: Sequence[Slot],
    backwards: Sequence[Slot],
    warmup: int,
    w_delay: int | None = None,
    w_delay_at_end: int | None = None,
) -> list[Operation]:
    """`warmup` forwards, then in turn a backward, a weight gradient `w_delay` backwards late, and a forward.

    Without a delay the backward is one pass. `w_delay_at_end` replaces the delay once there is no forward left.
    """
    order = [Operation(F, *slot) for slot in forwards[:warmup] if slot]
    late: deque[Operation] = deque()
    for i, (backward, forward) in enumerate(zip_longest(backwards, forwards[warmup:]), start=warmup):
        if backward:
            order.append(Operation(BW if w_delay is None else B, *backward))
        if backward and w_delay is not None:
            late.append(Operation(W, *backward))
        delay = w_delay if i < len(forwards) or w_delay_at_end is None else w_delay_at_end
        if late and len(late) > delay:
            order.append(late.popleft())
        if forward:
            order.append(Operation(F, *forward))
    return [*order, *late]


def _slots(stage: int, m: int) -> list[Slot]:
    return [(stage, j) for j in range(m)]


def _number(stages: Iterable[int], m: int) -> list[Slot]:
    """Give each stage's occurrences the micro-batches 0, 1, ...; what would be beyond the last is a gap."""
    seen: dict[int, int] = defaultdict(int)
    slots: list[Slot] = []
    for stage in stages:
        slots.append((stage, seen[stage]) if seen[stage] < m else None)
        seen[stage] += 1
    while slots and slots[-1] is None:
        slots.pop()
    return slots


def _schedule(name: str, m: int, orders: Iterable[Iterable[Operation]], device_of: Iterable[int]) -> PipelineSchedule:
    return PipelineSchedule(name, m, tuple(map(tuple, orders)), tuple(device_of))


def _check(p: int, m: int) -> None:
    if p < 1 or m < 1:
        raise ValueError(f"a pipeline needs at least one device and one micro-batch, got p = {p}, m = {m}")
