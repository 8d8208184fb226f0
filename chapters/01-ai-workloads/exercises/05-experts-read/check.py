"""Gates on expected experts, uses of each, and the batch for a share; exact fractions are the oracle."""

from fractions import Fraction

from sysai.core.language import Text
from sysai.exercises.trial import Trial

EXPERTS = Text("experts", "个专家")
USES = Text("tokens an expert", "词元/专家")
REQUESTS = Text("requests", "个请求")


def check(trial: Trial) -> None:
    for batch in (1, 8, 32, 128):
        _check_experts(trial, 256, 8, batch)
    _check_share(trial, 256, 8, 0.9)
    for _ in range(15):
        n_experts = trial.random.randint(4, 300)
        top_k = trial.random.randint(2, max(2, min(n_experts // 2, 16)))
        _check_experts(trial, n_experts, top_k, trial.random.randint(2, 6 * n_experts // top_k))
        _check_share(trial, n_experts, top_k, trial.random.uniform(0.05, 0.99))
    _check_experts(trial, 8, 8, 5)


def _expected(n_experts: int, top_k: int, batch: int) -> Fraction:
    return n_experts * (1 - (1 - Fraction(top_k, n_experts)) ** batch)


def _check_experts(trial: Trial, n_experts: int, top_k: int, batch: int) -> None:
    experts = _expected(n_experts, top_k, batch)
    got = trial.call("expected_experts", n_experts=n_experts, top_k=top_k, batch=batch)
    trial.expect_close(got, float(experts), unit=EXPERTS)
    got = trial.call("uses_per_expert", n_experts=n_experts, top_k=top_k, batch=batch)
    trial.expect_close(got, float(top_k * batch / experts), unit=USES)


def _check_share(trial: Trial, n_experts: int, top_k: int, share: float) -> None:
    batch = 1
    while _expected(n_experts, top_k, batch) < Fraction(share) * n_experts:
        batch += 1
    got = trial.call("batch_for_share", n_experts=n_experts, top_k=top_k, share=share)
    trial.expect_equal(got, batch, unit=REQUESTS)
