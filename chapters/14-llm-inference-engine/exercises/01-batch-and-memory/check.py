"""Gates on the three numbers, for published models on a published device and for random shapes and machines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sysai.core.language import Text
from sysai.exercises.configs import random_config, weights_read
from sysai.exercises.trial import Trial
from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters
from sysai.models.presets import PRESETS

PRELOAD = ("sysai.models.formulas",)
SEQUENCES = Text("sequences", "个序列")
RATE = Text("tokens/s", "词元/秒")
THROUGHPUT = Text("The throughput", "吞吐量")


@dataclass(frozen=True)
class Case:
    """A model, its mean context and its bytes of an element, on a machine: an H100 by its data sheet."""

    config: ModelConfig
    context: int
    size: int = 2
    memory: float = 80e9
    bandwidth: float = 3.35e12
    peak: float = 989e12

    @cached_property
    def used(self) -> int:
        return weights_read(self.config)

    @cached_property
    def cache(self) -> int:
        """Bytes of one sequence's keys and values."""
        return 2 * self.config.n_layers * self.config.n_kv_heads * self.config.head_dim * self.context * self.size

    @cached_property
    def flops(self) -> int:
        """FLOPs of one sequence: products with weights, scores and mixtures."""
        return 2 * self.used + 4 * self.config.n_layers * self.config.n_heads * self.config.head_dim * self.context

    @cached_property
    def fit(self) -> int:
        return max(0, int((self.memory - parameters(self.config).total * self.size) // self.cache))

    def seconds(self, batch: int) -> float:
        traffic = self.used * self.size + batch * self.cache
        return max(traffic / self.bandwidth, batch * self.flops / self.peak)

    def best(self, target: float, margin: float = 1.0) -> int | None:
        """The smallest good batch; another `margin` than 1 shifts both bounds a little."""
        allowed = [batch for batch in range(1, self.fit + 1) if self.seconds(batch) <= margin * target]
        good = 0.99 * margin * max((batch / self.seconds(batch) for batch in allowed), default=0.0)
        return next((batch for batch in allowed if batch / self.seconds(batch) >= good), None)


def check(trial: Trial) -> None:
    llama = Case(PRESETS["Llama 3 8B"], context=2048)
    _check(trial, llama, batches=[1], targets=[20e-3, 30e-3])
    _check(trial, replace(llama, bandwidth=100e9, peak=50e9), batches=[2])  # even one sequence keeps it busy
    _check(trial, replace(llama, context=256), batches=[400, 1200], targets=[30e-3])
    _check(trial, replace(llama, config=PRESETS["SmolLM2-135M"], memory=8e9), batches=[1, 400])
    _check(trial, replace(llama, config=PRESETS["Llama 3 70B"]), batches=[400])
    for i in range(10):
        case = _random_case(trial, tied=i % 2 == 1)
        balance = math.ceil(case.used * case.size / case.bandwidth * case.peak / case.flops)
        batches = [trial.random.randint(1, 4), trial.random.randint(1, 4 * balance)]
        _check(trial, case, batches, targets=[_target(trial, case, possible=i != 3)])


def _random_case(trial: Trial, tied: bool) -> Case:
    """With room for 50 to 1,500 sequences, some of them bound by arithmetic in large batches."""
    random = trial.random
    config = replace(random_config(random), tie_embeddings=tied)
    case = Case(config, random.randint(100, 5000), random.choice([1, 2, 4]), bandwidth=random.uniform(0.2e12, 8e12))
    room = int(case.cache * random.uniform(50, 1500))
    case = replace(case, memory=float(parameters(config).total * case.size + room))
    meets = random.choice([0.2, 0.5, 0.8, 3.0]) * case.fit  # the batch at which both limits take as long
    return replace(case, peak=meets * case.flops * case.bandwidth / (case.used * case.size + meets * case.cache))


def _target(trial: Trial, case: Case, possible: bool) -> float:
    """Seconds a step with which no comparison hangs on the last digits of a float."""
    low, high = case.seconds(1), case.seconds(case.fit)
    while True:
        target = trial.random.uniform(low, 1.2 * high) if possible else 0.9 * low
        if case.best(target, 1 - 1e-9) == case.best(target, 1 + 1e-9):
            return target


def _check(trial: Trial, case: Case, batches: Sequence[int] = (), targets: Sequence[float] = ()) -> None:
    shape = (case.context, case.size)
    machine = {"bandwidth": case.bandwidth, "peak": case.peak}
    got = trial.call("sequences_that_fit", case.config, *shape, memory=case.memory)
    trial.expect_equal(got, case.fit, unit=SEQUENCES)
    for batch in batches:
        got = trial.call("step_seconds", case.config, batch, *shape, **machine)
        trial.expect_close(got, case.seconds(batch), unit=Text("s", "s"))
    for target in targets:
        got = trial.call("best_batch", case.config, *shape, memory=case.memory, **machine, target=target)
        best, alone = case.best(target), f"{case.seconds(1):.4g} s"
        message = Text(
            f"A step of one sequence takes {alone}. If that is more than the target, and only then, return None.",
            f"一个序列的一步要{alone}。当且仅当它已超出目标时，返回None。",
        )
        trial.expect((got is None) == (best is None), message)
        if got:
            trial.expect_equal(got[0], best, what=Text("The batch size", "批大小"), unit=SEQUENCES)
            trial.expect_close(got[1], best / case.seconds(best), unit=RATE, what=THROUGHPUT)
