"""What 6ND leaves out at long sequences."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def understatement(config: ModelConfig, sequence: int, skip_masked: bool) -> float:
    """Return (6N + attention) / 6N for a training step, with N the active parameters."""
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config: ModelConfig, skip_masked: bool) -> float:
    """Return the length of a sequence, in tokens, at which attention's term equals 6N."""
    attention_per_position = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / attention_per_position
