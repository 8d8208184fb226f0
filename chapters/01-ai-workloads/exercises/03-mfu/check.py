"""Gates on attention's FLOPs, the rate of a device and its share of the peak."""

import dataclasses

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Trial
from sysai.models.config import MLAConfig
from sysai.models.presets import PRESETS

PER_TOKEN = Text("FLOPs/token", "FLOPs/词元")
RATE = Text("FLOP/s", "FLOP/s")
SHARE = Text("Share of the peak, the second of the pair", "二元组的第二个数，占峰值的份额")


def check(trial: Trial) -> None:
    v3 = PRESETS["DeepSeek-V3"]
    report = {"active_parameters": 37e9, "tokens": 14.8e12, "device_hours": 2.664e6, "peak": 989e12}
    for skip_masked in (True, False):
        _check_attention(trial, v3, 4096, skip_masked)
    _check_utilization(trial, **report, attention_per_token=0.0)
    _check_utilization(trial, **report, attention_per_token=_attention(v3, 4096) / 2)
    for i in range(12):
        config = _latent(trial) if i % 2 else random_config(trial.random)
        sequence = trial.random.randint(128, 131_072)
        _check_attention(trial, config, sequence, skip_masked=trial.random.random() < 0.5)
        _check_utilization(
            trial,
            active_parameters=trial.random.uniform(1e9, 4e11),
            tokens=trial.random.uniform(1e11, 3e13),
            device_hours=trial.random.uniform(1e4, 4e7),
            peak=trial.random.uniform(1e14, 3e15),
            attention_per_token=_attention(config, sequence),
        )


def _latent(trial: Trial):
    """A model of random shape with latent attention."""
    mla = MLAConfig(
        q_rank=trial.random.randint(64, 512),
        kv_rank=trial.random.randint(64, 512),
        nope_dim=trial.random.randint(64, 192),
        rope_dim=32,
        v_dim=trial.random.randint(32, 90),
    )
    config = random_config(trial.random)
    return dataclasses.replace(config, n_kv_heads=config.n_heads, head_dim=mla.nope_dim + mla.rope_dim, mla=mla)


def _attention(config, sequence: int) -> int:
    """FLOPs a token of the whole square: forward 2 T (K + value size) a head, and twice that backward."""
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    return 6 * config.n_layers * config.n_heads * sequence * (config.head_dim + value_dim)


def _check_attention(trial: Trial, config, sequence: int, skip_masked: bool) -> None:
    got = trial.call("attention_flops", config, sequence=sequence, skip_masked=skip_masked)
    trial.expect_close(got, _attention(config, sequence) * (0.5 if skip_masked else 1.0), unit=PER_TOKEN)


def _check_utilization(trial: Trial, **report) -> None:
    got, share = trial.call("utilization", **report)
    parameters, tokens, hours, peak, attention = report.values()
    rate = (6 * parameters + attention) * tokens / (3600 * hours)
    trial.expect_close(got, rate, unit=RATE)
    trial.expect_close(share, rate / peak, what=SHARE)
