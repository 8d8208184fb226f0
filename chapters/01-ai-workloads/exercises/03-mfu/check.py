"""Gates on attention's FLOPs, the rate of a device and its share of the peak."""

import dataclasses

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.config import MLAConfig
from sysai.models.presets import PRESETS

PER_TOKEN = Text("FLOPs/token", "FLOPs/词元")
RATE = Text("FLOP/s", "FLOP/s")
SHARE = Text("Share of the peak, the second of the pair", "二元组的第二个数，占峰值的份额")


def check(trial: Trial) -> None:
    v3 = PRESETS["DeepSeek-V3"]
    report = {"active_parameters": 37e9, "tokens": 14.8e12, "device_hours": 2.664e6, "peak": 989e12}
    _check_attention(trial, v3, 4096, skip_masked=False)
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
    whole = _attention(config, sequence)
    share = 0.5 if skip_masked else 1.0
    got = trial.call("attention_flops", config, sequence=sequence, skip_masked=skip_masked)
    hints = [
        Hint(
            whole * share / 3,
            Text(
                "This is the forward pass alone. The backward pass takes two products for each of its products.",
                "这只是前向传播。前向的每一次乘法，反向传播都要再做两次。",
            ),
        ),
        Hint(
            12 * config.n_layers * config.n_heads * config.head_dim * sequence * share,
            Text(
                "12 L H K T holds where a value is as wide as a key. Here a value has config.mla.v_dim elements.",
                "12 L H K T只在值与键一样宽时成立。这个模型的值有config.mla.v_dim个分量。",
            ),
        ),
        Hint(
            whole * share * config.n_kv_heads / config.n_heads,
            Text(
                "You counted key-value heads. Sharing keys and values saves bytes, not operations: every query head "
                "computes scores of its own.",
                "你按键值头计数了。共用键和值省的是字节，不是运算：每个查询头都要算自己的分数。",
            ),
        ),
        Hint(
            whole * share / 2,
            Text(
                "Half of what it should be: count both products (scores, averages), and two operations for each "
                "multiply-add.",
                "结果只有应得的一半：求分数和加权平均两次乘法都要计，而且一次乘加是两次运算。",
            ),
        ),
        Hint(
            whole * (1.5 - share),
            Text(
                "skip_masked the other way round: where it is true, half of the scores are not computed.",
                "skip_masked用反了：它为真时，有一半分数不算。",
            ),
        ),
    ]
    trial.expect_close(got, whole * share, unit=PER_TOKEN, hints=hints)


def _check_utilization(trial: Trial, **report) -> None:
    got = trial.call("utilization", **report)
    N, tokens, hours, peak, attention = report.values()
    rate = (6 * N + attention) * tokens / (3600 * hours)
    trial.expect(
        isinstance(got, tuple) and len(got) == 2,
        Text(
            f"Return a pair (FLOP/s, share of the peak), not {got!r}.",
            f"应返回二元组（FLOP/s，占峰值的份额），而不是{got!r}。",
        ),
    )
    hints = [
        Hint(rate * 3600, Text("Per hour instead of per second.", "这是每小时的运算量，不是每秒的。")),
        Hint(
            (2 * N + attention) * tokens / (3600 * hours),
            Text("2N a token is the forward pass. Training takes 6N.", "每个词元2N只是前向传播。训练是6N。"),
        ),
        Hint(
            6 * N * tokens / (3600 * hours),
            Text(
                "Without attention: add `attention_per_token` to 6N before you multiply by the tokens.",
                "漏了注意力：先把`attention_per_token`加到6N上，再乘以词元数。",
            ),
        ),
        Hint(
            (6 * N + 3 * attention) * tokens / (3600 * hours),
            Text(
                "`attention_per_token` already holds the backward pass: do not multiply it again.",
                "`attention_per_token`已经包含反向传播，不要再乘。",
            ),
        ),
    ]
    trial.expect_close(got[0], rate, unit=RATE, hints=hints)
    per_cent = Hint(
        100 * rate / peak, Text("A fraction is wanted, not a percentage.", "应返回小数形式的份额，不是百分数。")
    )
    trial.expect_close(got[1], rate / peak, what=SHARE, hints=[per_cent])
