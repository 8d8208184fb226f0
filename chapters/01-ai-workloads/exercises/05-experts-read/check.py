"""Gates on expected experts, uses of each, and the batch for a share; exact fractions are the oracle."""

from fractions import Fraction

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

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


def _with_replacement(n_experts: int, top_k: int, batch: int) -> Fraction:
    return n_experts * (1 - (1 - Fraction(1, n_experts)) ** (top_k * batch))


def _check_experts(trial: Trial, n_experts: int, top_k: int, batch: int) -> None:
    experts, case = _expected(n_experts, top_k, batch), {"n_experts": n_experts, "top_k": top_k, "batch": batch}
    drawn_twice = _with_replacement(n_experts, top_k, batch)
    got = trial.call("expected_experts", **case)
    trial.expect_close(got, float(experts), unit=EXPERTS, hints=_hints(case, drawn_twice, float))

    got = trial.call("uses_per_expert", **case)
    of_all = Hint(
        top_k * batch / n_experts,
        Text(
            "You divided by all experts. An expert that nobody chose is not read: divide by those that are.",
            "你除以了全部专家。没有词元选的专家不会被读；应除以所读的专家数。",
        ),
    )
    hints = [of_all, *_hints(case, drawn_twice, lambda count: float(top_k * batch / count))]
    trial.expect_close(got, float(top_k * batch / experts), unit=USES, hints=hints)


def _check_share(trial: Trial, n_experts: int, top_k: int, share: float) -> None:
    batch = _smallest(_expected, n_experts, top_k, share)
    got = trial.call("batch_for_share", n_experts=n_experts, top_k=top_k, share=share)
    late = Text(
        "This batch reaches the share, but it is not the smallest that does: one request fewer is enough.",
        "这个批大小够了，但不是最小的：少一个请求也够。",
    )
    early = Text(
        "One too few: this batch stays just below the share.",
        "少了一个：在这个批大小下，所读专家数的期望还略低于所要的份额。",
    )
    hints = [
        Hint(batch + 1, late),
        Hint(batch - 1, early),
        Hint(_smallest(_with_replacement, n_experts, top_k, share), DRAWN_TWICE),
    ]
    trial.expect_equal(got, batch, unit=REQUESTS, hints=hints)


def _smallest(expected, n_experts: int, top_k: int, share: float) -> int:
    batch = 1
    while expected(n_experts, top_k, batch) < Fraction(share) * n_experts:
        batch += 1
    return batch


DRAWN_TWICE = Text(
    "You let one token draw the same expert twice. Its top_k experts are different: it misses a given expert "
    "with probability 1 - top_k / n_experts.",
    "你让同一个词元两次抽到同一个专家。它的top_k个专家各不相同：不用某个给定专家的概率是1 - top_k / n_experts。",
)


def _hints(case: dict[str, int], drawn_twice: Fraction, value) -> list[Hint]:
    """Hints for experts counted wrongly; `value(experts)` is what follows from them."""
    n_experts, choices = case["n_experts"], case["top_k"] * case["batch"]
    hints = [
        Hint(
            value(min(n_experts, choices)),
            Text(
                "You took every choice for another expert. Different tokens often choose the same one.",
                "你把每次选择都当成了新的专家。不同的词元常常选中同一个。",
            ),
        ),
        Hint(value(drawn_twice), DRAWN_TWICE),
    ]
    if missed := n_experts - _expected(**case):
        hints.append(
            Hint(
                value(missed),
                Text(
                    "These are the experts that nobody reads. Subtract them from n_experts.",
                    "这是没有读到的专家数，应从n_experts中减去。",
                ),
            )
        )
    return hints
