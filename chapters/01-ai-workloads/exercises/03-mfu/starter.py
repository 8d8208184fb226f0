"""The rate and the utilization of a training run, from its report."""

from sysai.models.config import ModelConfig


def attention_flops(
    config: ModelConfig,
    sequence: int,
    skip_masked: bool,
) -> float:
    """Return the FLOPs a token that training spends on attention itself.

    Args:
        config: n_layers layers, n_heads query heads; a query and a key have
            head_dim elements, a value has config.mla.v_dim of them where
            config.mla is not None, and head_dim otherwise.
        sequence: positions of a sequence; every one is scored against all of
            them.
        skip_masked: count half of that, as a kernel does that skips what the
            causal mask discards.

    Example: DeepSeek-V3 at 4096 positions, nothing skipped: 61_404_610_560
    FLOPs a token.
    """
    raise NotImplementedError


def utilization(
    active_parameters: float,
    tokens: float,
    device_hours: float,
    peak: float,
    attention_per_token: float = 0.0,
) -> tuple[float, float]:
    """Return (FLOP/s of one device, that rate as a fraction of `peak`).

    Args:
        active_parameters: parameters that one token uses.
        tokens: tokens of the whole run.
        device_hours: hours, summed over all devices.
        peak: FLOP/s that one device could do.
        attention_per_token: FLOPs to be counted beside 6 for each active
            parameter, for each token.

    Example: 37e9, 14.8e12, 2.664e6, 989e12: (342.6e12, 0.3464).
    """
    raise NotImplementedError
