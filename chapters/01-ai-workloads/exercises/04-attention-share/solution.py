"""What 6ND leaves out at long sequences."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def understatement(
    config: ModelConfig,
    sequence: int,
    skip_masked: bool,
) -> float:
    """Return (6N + attention) / 6N, with N the active parameters."""
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config: ModelConfig, skip_masked: bool) -> float:
    """Return the length, in tokens, at which attention's term equals 6N."""
    per_position = 12 * config.n_layers * config.n_heads * config.head_dim
    if skip_masked:
        per_position /= 2
    return 6 * parameters(config).active / per_position
