"""Gates on stage, bytes held, bytes sent and seconds, for two published models and random clusters and recipes."""

from dataclasses import dataclass, replace

from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Hint, Trial
from sysai.hardware.network import Cluster
from sysai.models.formulas.memory import MIXED_ADAM, PLAIN_ADAM, Recipe
from sysai.parallel.memory import STAGES, state_memory, step_traffic

BYTES = Text("bytes", "字节")
SECONDS = Text("s", "秒")
STAGE = Text("The stage, the first of the four", "四个数中的第一个，阶段")
HELD = Text("Bytes held, the second of the four", "四个数中的第二个，占用的字节数")
SENT = Text("Bytes sent, the third of the four", "四个数中的第三个，发送的字节数")
TIME = Text("Seconds, the fourth of the four", "四个数中的第四个，秒数")
LOWEST = Text(
    "The picture shows what each stage holds. Wanted is the lowest that fits into the memory.",
    "图中是各阶段占用的字节数。要的是显存放得下的最低阶段。",
)
RECIPES = (
    MIXED_ADAM,
    PLAIN_ADAM,
    Recipe("bf16 weights, fp32 gradients, momentum", weights=2, gradients=4, optimizer=8),
    Recipe("fp8 weights, bf16 gradients, Adam", weights=1, gradients=2, optimizer=12),
)


@dataclass(frozen=True)
class Case:
    """A model, a recipe and a cluster: the arguments of a call."""

    parameters: int
    largest_unit: int
    devices: int
    memory: int
    activations: int
    recipe: Recipe
    micro_batches: int
    gpus_per_node: int
    nics_per_node: int
    link: float
    nic: float

    def gathered(self) -> int:
        """Bytes of the two units that stage 3 gathers."""
        return 2 * self.largest_unit * self.recipe.weights

    def held(self) -> list[int]:
        """Bytes on each device, by stage."""
        return [
            state_memory(self.parameters, self.devices, stage, self.recipe).total
            + self.activations
            + self.gathered() * (stage == 3)
            for stage in STAGES
        ]

    def bandwidth(self) -> float:
        """Bytes/s that each device sends in a collective."""
        cluster = Cluster(self.gpus_per_node, self.nics_per_node, self.link, self.nic)
        return cluster.collective_bandwidth(self.devices)


def check(trial: Trial) -> None:
    room = {"memory": 80 * 10**9, "activations": 20 * 10**9, "recipe": MIXED_ADAM, "micro_batches": 1}
    node = {"gpus_per_node": 8, "nics_per_node": 8, "link": 450e9, "nic": 50e9}
    small = Case(8_030_261_248, 218_112_000, 8, **room, **node)
    _check(trial, small)
    _check(trial, replace(small, memory=52 * 10**9))
    large = Case(70_553_706_496, 855_654_400, 64, **room, **node)
    _check(trial, replace(large, nics_per_node=4))
    _check(trial, large)
    _check(trial, replace(large, gpus_per_node=1, nics_per_node=1))
    _check(trial, replace(large, link=300e9))  # the links are slower than the NICs together
    for i in range(16):
        _check(trial, _random_case(trial, wanted=(0, 1, 2, 3, None)[i % 5]))


def _random_case(trial: Trial, wanted: int | None) -> Case:
    """A cluster whose memory makes `wanted` the lowest stage that fits."""
    random = trial.random
    while True:
        parameters = random.randint(10**9, 10**11)
        gpus_per_node = random.choice((1, 2, 4, 8))
        case = Case(
            parameters,
            parameters // random.randint(30, 100),
            random.randint(2, 64),
            memory=0,
            activations=random.randint(1, 30) * 10**9,
            recipe=random.choice(RECIPES),
            micro_batches=random.randint(2, 8),
            gpus_per_node=gpus_per_node,
            nics_per_node=random.randint(1, gpus_per_node),
            link=float(random.randint(100, 900) * 10**9),
            nic=float(random.randint(5, 99) * 10**9),
        )
        held = case.held()
        least = held[3] - case.gathered() if wanted is None else held[wanted]
        most = min(held[:wanted], default=2 * least)
        if least < most - 1:
            return replace(case, memory=random.randint(least, most - 1))


def _check(trial: Trial, case: Case) -> None:
    got = trial.call("plan", **vars(case))
    held = case.held()
    stage = next((stage for stage in STAGES if held[stage] <= case.memory), None)
    trial.picture(Text(_picture(held, case.memory, "stage ", "memory"), _picture(held, case.memory, "阶段", "显存")))
    if stage is None:
        message = Text(
            f"No stage fits: the smallest takes {min(held):,} bytes. Return None.",
            f"哪个阶段都放不下：最省的也要{min(held):,}字节。应返回None。",
        )
        trial.expect(got is None, message)
        return
    fits = Text(f"Stage {stage} fits: it holds {held[stage]:,} bytes.", f"阶段{stage}放得下：占用{held[stage]:,}字节。")
    trial.expect(got is not None, fits)
    sent = step_traffic(case.parameters, case.devices, stage, case.recipe, case.micro_batches)
    trial.expect_equal(got[0], stage, what=STAGE, hints=[Hint(lambda _: True, LOWEST)])
    trial.expect_equal(got[1], held[stage], unit=BYTES, what=HELD)
    trial.expect_equal(got[2], sent, unit=BYTES, what=SENT)
    trial.expect_close(got[3], sent / case.bandwidth(), unit=SECONDS, what=TIME)


def _picture(held: list[int], memory: int, stage: str, room: str) -> str:
    rows = {f"{stage}{i}": amount for i, amount in enumerate(held)} | {room: memory}
    return bars({f"{name}, GB": amount / 1e9 for name, amount in rows.items()})
