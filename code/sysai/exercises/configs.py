"""Random shapes of models for checks, in which no size is right by accident, and what follows from a shape."""

from random import Random

from sysai.models.config import ModelConfig, MoEConfig


def random_config(random: Random, width: int = 4096, mixture: bool = False) -> ModelConfig:
    """A shape of the Llama family with grouped queries; with `mixture` every layer is a mixture of experts.

    Args:
        random: the check's source, `trial.random`.
        width: upper bound of the model width D, at least 16; 32 makes a model that runs in milliseconds.
    """
    kv_heads, experts = random.randint(2, 8), random.randint(4, 16)
    d_ff = 2 * random.randint(width // 2, 2 * width)
    return ModelConfig(
        name="a mixture of random shape" if mixture else "a model of random shape",
        vocab_size=random.randint(2 * width, 16 * width),
        d_model=2 * random.randint(width // 4, width // 2),
        n_layers=random.randint(2, 2 + width // 64),
        n_heads=kv_heads * random.randint(2, 4),
        n_kv_heads=kv_heads,
        head_dim=2 * random.randint(2, 2 + width // 64),
        d_ff=0 if mixture else d_ff,
        max_positions=131_072 if width > 64 else 256,
        tie_embeddings=random.random() < 0.5,
        moe=MoEConfig(experts, random.randint(2, experts - 1), d_ff // 2, n_shared=random.randint(0, 2))
        if mixture
        else None,
    )


def weights_read(config: ModelConfig) -> int:
    """Weights that a call of a dense model reads, by hand: all but an embedding table that is only looked up."""
    attention = 2 * config.d_model * config.head_dim * (config.n_heads + config.n_kv_heads)
    layer = attention + 3 * config.d_model * config.d_ff + 2 * config.d_model
    return config.n_layers * layer + config.d_model + config.vocab_size * config.d_model
