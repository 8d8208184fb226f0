"""Gates on the factor and on the length, for published models and random ones, dense and mixtures."""

from sysai.core.language import Text
from sysai.exercises.configs import random_config, weights_read
from sysai.exercises.trial import Trial
from sysai.models.presets import PRESETS

TIMES = Text("times 6ND", "倍（相对于6ND）")
TOKENS = Text("tokens", "个词元")


def check(trial: Trial) -> None:
    llama = PRESETS["Llama 3.1 405B"]
    for skip_masked in (True, False):
        _check(trial, llama, 131_072, skip_masked)
    _check(trial, PRESETS["SmolLM2-135M"], 7_784, skip_masked=True)
    for i in range(12):
        config = random_config(trial.random, mixture=i % 2 == 1)
        _check(trial, config, trial.random.randint(128, 1_000_000), skip_masked=trial.random.random() < 0.5)


def _check(trial: Trial, config, sequence: int, skip_masked: bool) -> None:
    scores = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1.0)
    length = 6 * _active(config) / scores
    got = trial.call("equal_length", config, skip_masked=skip_masked)
    trial.expect_close(got, length, unit=TOKENS)
    got = trial.call("understatement", config, sequence=sequence, skip_masked=skip_masked)
    trial.expect_close(got, 1 + sequence / length, unit=TIMES)


def _active(config) -> int:
    """Parameters that a token uses, by hand."""
    table = 0 if config.tie_embeddings else config.vocab_size * config.d_model
    if config.moe is None:
        return weights_read(config) + table
    experts = 3 * config.moe.d_expert * (config.moe.top_k + config.moe.n_shared)
    layer = config.d_model * (config.moe.n_experts + experts - 3 * config.d_ff)
    return weights_read(config) + table + config.n_layers * layer
