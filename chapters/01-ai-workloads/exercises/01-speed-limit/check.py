"""Gates on the two limits, for the published case and random models and machines."""

import dataclasses

from sysai.core.language import Text
from sysai.exercises.configs import random_config, weights_read
from sysai.exercises.trial import Trial
from sysai.models.presets import PRESETS

H100 = {"bandwidth": 3.35e12, "peak": 989e12}
SECONDS = Text("s", "s")
RATE = Text("tokens/s", "词元/秒")


def check(trial: Trial) -> None:
    llama = PRESETS["Llama 3 70B"]
    _check_decode(trial, llama, bytes_per_weight=2, devices=2, **H100)
    _check_prefill(trial, llama, 4096, bytes_per_weight=2, devices=2, **H100)
    for i in range(12):
        config = dataclasses.replace(random_config(trial.random), tie_embeddings=i % 2 == 1)
        machine = {
            "bytes_per_weight": trial.random.choice([0.5, 1, 2, 4]),
            "devices": trial.random.randint(2, 16),
            "bandwidth": trial.random.uniform(0.2e12, 8e12),
            "peak": trial.random.uniform(50e12, 2000e12),
        }
        ridge = machine["peak"] / machine["bandwidth"]
        few, many = trial.random.randint(1, 1 + int(ridge / 20)), trial.random.randint(5, 20) * int(ridge)
        _check_decode(trial, config, **machine)
        _check_prefill(trial, config, many, **machine)
        _check_prefill(trial, config, few, **machine)


def _check_decode(trial: Trial, config, **machine) -> None:
    got = trial.call("decode_tokens_per_second", config, **machine)
    trial.expect_close(got, 1 / _seconds(weights_read(config), 1, **machine), unit=RATE)


def _check_prefill(trial: Trial, config, tokens: int, **machine) -> None:
    got = trial.call("prefill_seconds", config, tokens, **machine)
    trial.expect_close(got, _seconds(weights_read(config), tokens, **machine), unit=SECONDS)


def _seconds(weights: int, tokens: int, bytes_per_weight: float, devices: int, bandwidth: float, peak: float) -> float:
    return max(2 * weights * tokens / peak, bytes_per_weight * weights / bandwidth) / devices
