"""Gates on the factor and on the length, for published models and random ones, dense and mixtures."""

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
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
    active, total = _parameters(config)
    part = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1.0)
    length = 6 * active / part

    got = trial.call("equal_length", config, skip_masked=skip_masked)
    trial.expect_close(got, length, unit=TOKENS, hints=_hints(config, total / active, lambda times: length * times))

    got = trial.call("understatement", config, sequence=sequence, skip_masked=skip_masked)
    share = Hint(
        sequence / length,
        Text(
            "This is attention's term as a part of 6ND. Wanted is the factor of the whole: 1 more.",
            "这是注意力的一项与6ND之比。要的是总代价的倍数，还要加1。",
        ),
    )
    inverse = Hint(
        1 / (1 + sequence / length), Text("Upside down: 6ND / true cost.", "倒过来了：这是6ND除以真实代价。")
    )
    hints = [share, inverse, *_hints(config, total / active, lambda times: 1 + sequence / (length * times))]
    trial.expect_close(got, 1 + sequence / length, unit=TIMES, hints=hints)


def _hints(config, total_by_active: float, value) -> list[Hint]:
    """Hints for an equal length that is wrong by a factor; `value(factor)` is what follows from it."""
    hints = [
        Hint(
            value(config.n_heads / config.n_kv_heads),
            Text(
                "You counted scores of key-value heads. Each of the n_heads query heads computes scores of its own.",
                "你按键值头来数分数了。n_heads个查询头各自都要算分数。",
            ),
        ),
        Hint(
            value(3.0),
            Text(
                "You set attention's forward pass against 6N, which holds the backward pass as well.",
                "你拿注意力的前向传播去和6N比，而6N已包含反向传播。",
            ),
        ),
        Hint(
            value(2.0),
            Text(
                "Attention's term is half of what it should be: 12 L H K T, and half of that only where skip_masked is "
                "true.",
                "注意力的一项只有应得的一半：应为12 L H K T，只有skip_masked为真时才减半。",
            ),
        ),
        Hint(
            value(0.5),
            Text(
                "Attention's term is twice what it should be: where skip_masked is true, half of it is not computed.",
                "注意力的一项是应得的两倍：skip_masked为真时，有一半不算。",
            ),
        ),
    ]
    if config.moe:
        hints.append(
            Hint(
                value(total_by_active),
                Text(
                    "You took all parameters. A token visits top_k experts a layer; N is the active parameters.",
                    "你用了总参数。一个词元在每层只去top_k个专家，N应取激活参数。",
                ),
            )
        )
    return hints


def _parameters(config) -> tuple[int, int]:
    """(active, total) parameters, by hand."""
    D, moe = config.d_model, config.moe
    shared = 2 * D * config.head_dim * (config.n_heads + config.n_kv_heads) + 2 * D
    outside = config.vocab_size * D * (1 if config.tie_embeddings else 2) + D
    if moe is None:
        count = outside + config.n_layers * (shared + 3 * D * config.d_ff)
        return count, count
    router, expert = D * moe.n_experts, 3 * D * moe.d_expert
    active = outside + config.n_layers * (shared + router + expert * (moe.top_k + moe.n_shared))
    return active, active + config.n_layers * expert * (moe.n_experts - moe.top_k)
