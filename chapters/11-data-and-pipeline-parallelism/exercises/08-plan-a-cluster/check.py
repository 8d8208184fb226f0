"""Gates on stage, bytes held, bytes sent and seconds, for two published models and random clusters and recipes."""

from dataclasses import dataclass, replace

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from sysai.models.formulas.memory import MIXED_ADAM, PLAIN_ADAM, Recipe

BYTES = Text("bytes", "字节")
SECONDS = Text("s", "秒")
STAGE = Text("The stage, the first of the four", "四个数中的第一个，阶段")
HELD = Text("Bytes held, the second of the four", "四个数中的第二个，占用的字节数")
SENT = Text("Bytes sent, the third of the four", "四个数中的第三个，发送的字节数")
TIME = Text("Seconds, the fourth of the four", "四个数中的第四个，秒数")
RECIPES = (
    MIXED_ADAM,
    PLAIN_ADAM,
    Recipe("bf16 weights, fp32 gradients, momentum", weights=2, gradients=4, optimizer=8),
    Recipe("fp8 weights, bf16 gradients, Adam", weights=1, gradients=2, optimizer=12),
)


@dataclass(frozen=True)
class Case:
    """A model, a recipe and a cluster."""

    parameters: int
    largest_unit: int
    devices: int
    memory: int
    activations: int
    recipe: Recipe
    micro_batches: int
    bandwidth: float

    @property
    def shard(self) -> int:
        return (self.parameters + self.devices - 1) // self.devices

    def held(self, stage: int) -> int:
        """Bytes on each device: a part is whole below its stage, and a shard from there on."""
        parts = ((self.recipe.optimizer, 1), (self.recipe.gradients, 2), (self.recipe.weights, 3))
        total = sum(size * (self.shard if stage >= first else self.parameters) for size, first in parts)
        return total + self.activations + (self.gathered if stage == 3 else 0)

    @property
    def gathered(self) -> int:
        return 2 * self.largest_unit * self.recipe.weights

    def sent(self, stage: int) -> int:
        """Bytes that each device sends in a step."""
        reductions = self.micro_batches if stage >= 2 else 1
        gathers = 2 * self.micro_batches if stage == 3 else 1
        gathered = self.recipe.gradients if stage == 0 else self.recipe.weights
        return (reductions * self.recipe.gradients + gathers * gathered) * self.shard * (self.devices - 1)

    def stage(self) -> int | None:
        """The lowest that fits."""
        return next((stage for stage in range(4) if self.held(stage) <= self.memory), None)


def check(trial: Trial) -> None:
    gigabyte = 10**9
    node = {"memory": 80 * gigabyte, "activations": 20 * gigabyte, "recipe": MIXED_ADAM, "bandwidth": 50e9}
    _check(trial, Case(8_030_261_248, 218_112_000, 8, micro_batches=1, **node))
    _check(trial, Case(70_553_706_496, 855_654_400, 64, micro_batches=1, **node))
    for i in range(16):
        _check(trial, _random_case(trial, wanted=(0, 1, 2, 3, None)[i % 5]))


def _random_case(trial: Trial, wanted: int | None) -> Case:
    """A cluster whose memory makes `wanted` the lowest stage that fits."""
    random = trial.random
    while True:
        parameters = random.randint(10**9, 10**11)
        case = Case(
            parameters,
            parameters // random.randint(30, 100),
            random.randint(2, 64),
            memory=0,
            activations=random.randint(1, 30) * 10**9,
            recipe=random.choice(RECIPES),
            micro_batches=random.randint(2, 8),
            bandwidth=float(random.randint(5, 400) * 10**9),
        )
        least = min(case.held(stage) for stage in range(4)) // 2 if wanted is None else case.held(wanted)
        below = range(4) if wanted is None else range(wanted)
        most = min((case.held(stage) for stage in below), default=2 * least)
        if least < most - 1:
            return replace(case, memory=random.randint(least, most - 1))


def _check(trial: Trial, case: Case) -> None:
    got = trial.call(
        "plan",
        case.parameters,
        case.largest_unit,
        devices=case.devices,
        memory=case.memory,
        activations=case.activations,
        recipe=case.recipe,
        micro_batches=case.micro_batches,
        bandwidth=case.bandwidth,
    )
    stage = case.stage()
    if stage is None:
        least = min(case.held(s) for s in range(4))
        trial.expect(
            got is None,
            Text(
                f"No stage fits: the smallest takes {least:,} bytes. Return None.",
                f"哪个阶段都放不下：最省的也要{least:,}字节。应返回None。",
            ),
            hint=_stage_hint(case, got[0]) if type(got) is tuple and got and type(got[0]) is int else None,
        )
        return
    trial.expect(
        type(got) is tuple and len(got) == 4,
        Text(
            "Return a tuple: stage, bytes held, bytes sent, seconds.",
            "应返回元组：阶段，占用的字节数，发送的字节数，秒数。",
        ),
        hint=Text(
            f"Stage {stage} fits: it holds {case.held(stage):,} bytes.",
            f"阶段{stage}放得下：占用{case.held(stage):,}字节。",
        )
        if got is None
        else None,
    )
    hint = _stage_hint(case, got[0])
    trial.expect_equal(got[0], stage, what=STAGE, hints=[Hint(lambda _: True, hint)] if hint else [])
    trial.expect_equal(got[1], case.held(stage), unit=BYTES, what=HELD)
    trial.expect_equal(got[2], case.sent(stage), unit=BYTES, what=SENT)
    trial.expect_close(got[3], case.sent(stage) / case.bandwidth, unit=SECONDS, what=TIME)


def _stage_hint(case: Case, stage: object) -> Text | None:
    """Why this stage is not the lowest that fits."""
    if type(stage) is not int or not 0 <= stage <= 3:
        return None
    held = case.held(stage)
    if held <= case.memory:
        return Text(f"Stage {stage} fits, but a lower one does, too.", f"阶段{stage}放得下，但更低的阶段也放得下。")
    if stage == 3 and held - case.gathered <= case.memory:
        return Text(
            "Stage 3 fits only without the two gathered units: whole weights exist while they compute.",
            "阶段3不算收集来的两个单元才放得下：计算时，它们的权重是完整的。",
        )
    if held - case.activations <= case.memory:
        return Text(
            f"Stage {stage} fits only without the activations. They need room as well.",
            f"阶段{stage}不算激活值才放得下。激活值也要占地方。",
        )
    return Text(
        f"Stage {stage} holds {held:,} bytes, more than there are.", f"阶段{stage}要占用{held:,}字节，超出了内存。"
    )
