"""What 6ND leaves out at long sequences."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def understatement(
    config: ModelConfig,
    sequence: int,
    skip_masked: bool,
) -> float:
    """Return (6N + attention) / 6N, with N the active parameters.

    Args:
        config: shape of a model without latent attention;
            `parameters(config).active` is N.
        sequence: tokens of one sequence.
        skip_masked: the kernel skips the half of the scores that the causal
            mask discards.

    Example: Llama 3.1 405B, 131072 tokens, skipped: 1.667.
    """
    raise NotImplementedError


def equal_length(config: ModelConfig, skip_masked: bool) -> float:
    """Return the length, in tokens, at which attention's term equals 6N.

    Example: Llama 3.1 405B, skipped: 196_597.8 tokens.
    """
    raise NotImplementedError
