"""Gates on the balancing batch and on the ceiling, for the published case and random models."""

import math

from sysai.core.language import Text
from sysai.exercises.configs import random_config, weights_read
from sysai.exercises.trial import Trial
from sysai.models.presets import PRESETS

REQUESTS = Text("requests", "个请求")
RATE = Text("tokens/s", "词元/秒")


def check(trial: Trial) -> None:
    _check(trial, PRESETS["Llama 3 8B"], context=8192, weight=2, element=2, bandwidth=3.35e12)
    for _ in range(12):
        config = random_config(trial.random)
        context = trial.random.randint(16, 4096)
        weight, element = trial.random.choice([0.5, 1, 2, 4]), trial.random.choice([1, 2, 4])
        _check(trial, config, context, weight, element, trial.random.uniform(0.2e12, 8e12))


def _check(trial: Trial, config, context: int, weight: float, element: int, bandwidth: float) -> None:
    cache = 2 * config.n_layers * config.n_kv_heads * config.head_dim * context * element
    got = trial.call("balance_batch", config, context=context, bytes_per_weight=weight, bytes_per_element=element)
    trial.expect_equal(got, math.ceil(weight * weights_read(config) / cache), unit=REQUESTS)
    got = trial.call("throughput_ceiling", config, context=context, bytes_per_element=element, bandwidth=bandwidth)
    trial.expect_close(got, bandwidth / cache, unit=RATE)
