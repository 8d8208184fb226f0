"""The rate and the utilization of a training run, from its report."""

from sysai.models.config import ModelConfig


def attention_flops(
    config: ModelConfig,
    sequence: int,
    skip_masked: bool,
) -> float:
    """Return the FLOPs a token that training spends on attention itself."""
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    per_head = 2 * sequence * (config.head_dim + value_dim)
    forward = config.n_layers * config.n_heads * per_head
    return 3 * forward * (0.5 if skip_masked else 1.0)


def utilization(
    active_parameters: float,
    tokens: float,
    device_hours: float,
    peak: float,
    attention_per_token: float = 0.0,
) -> tuple[float, float]:
    """Return (FLOP/s of one device, that rate as a fraction of `peak`)."""
    flops = (6 * active_parameters + attention_per_token) * tokens
    rate = flops / (3600 * device_hours)
    return rate, rate / peak
