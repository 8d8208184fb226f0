"""Gates on the two limits, for the published case and random models and machines."""

import dataclasses

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
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

    def rate(weights: int, devices: int = machine["devices"]) -> float:
        return 1 / _seconds(weights, 1, **{**machine, "devices": devices})

    trial.expect_close(got, rate(_used(config)), unit=RATE, hints=_common_hints(config, rate))


def _check_prefill(trial: Trial, config, tokens: int, **machine) -> None:
    got = trial.call("prefill_seconds", config, tokens, **machine)
    weights, devices = _used(config), machine["devices"]

    def seconds(weights: int, devices: int = devices) -> float:
        return _seconds(weights, tokens, **{**machine, "devices": devices})

    arithmetic = 2 * weights * tokens / (devices * machine["peak"])
    traffic = machine["bytes_per_weight"] * weights / (devices * machine["bandwidth"])
    hints = [
        Hint(
            min(arithmetic, traffic),
            Text(
                "You took the shorter of the two times here. A call is no faster than its arithmetic and no faster "
                "than its reading of the weights: take the larger time. Few tokens leave it bound by memory.",
                "你在这里取了两个时间中较短的一个。一次调用既不会比运算快，也不会比读权重快，应取较长的一个；"
                "词元很少时，它受限于访存。",
            ),
        ),
        Hint(
            arithmetic + traffic,
            Text(
                "You added the two times. The limit assumes that they overlap perfectly: take the larger one.",
                "你把两个时间加了起来。上限假定两者完全重叠，应取较长的一个。",
            ),
        ),
        Hint(
            arithmetic / 2,
            Text(
                "Half of what it should be: a multiplication and an addition for each weight and token are two "
                "operations.",
                "结果只有应得的一半：每个权重、每个词元要做一次乘法和一次加法，是两次运算。",
            ),
        ),
        *_common_hints(config, seconds),
    ]
    trial.expect_close(got, seconds(weights), unit=SECONDS, hints=hints)


def _common_hints(config, value) -> list[Hint]:
    """Hints for weights or devices counted wrongly; `value(weights, devices)` is what follows from them."""
    used, table = _used(config), config.vocab_size * config.d_model
    hints = [
        Hint(
            value(used, 1),
            Text(
                "This is the limit of one device. All devices read and compute their shares at the same time.",
                "这是一块设备的上限。所有设备同时读取、同时计算各自的那一份。",
            ),
        )
    ]
    if config.tie_embeddings:
        hints.append(
            Hint(
                value(used - table),
                Text(
                    "You left the embedding table out. This model's weights are tied (tie_embeddings is True): the "
                    "same table is its head, which is read and multiplied in every call.",
                    "你没有计入嵌入表。这个模型共享权重（tie_embeddings为True），同一张表就是输出头，每次调用都要读它、用它做乘法。",
                ),
            )
        )
    else:
        hints.append(
            Hint(
                value(used + table),
                Text(
                    "You counted the embedding table. It is only looked up here (tie_embeddings is False): a call "
                    "reads one row of it for each token and multiplies none.",
                    "你计入了嵌入表。这里它只用来查表（tie_embeddings为False）：每个词元只读一行，也不做乘法。",
                ),
            )
        )
    return hints


def _used(config) -> int:
    """Weights that a call reads: all but an embedding table that is only looked up."""
    attention = 2 * config.d_model * config.head_dim * (config.n_heads + config.n_kv_heads)
    layer = attention + 3 * config.d_model * config.d_ff + 2 * config.d_model
    return config.n_layers * layer + config.d_model + config.vocab_size * config.d_model


def _seconds(weights: int, tokens: int, bytes_per_weight: float, devices: int, bandwidth: float, peak: float) -> float:
    return max(2 * weights * tokens / peak, bytes_per_weight * weights / bandwidth) / devices
