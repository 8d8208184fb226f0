"""Gates on the means, and on how often `add` is called."""

import torch
from sysai.core.language import Text
from sysai.exercises.limits import Limits
from sysai.exercises.trial import Hint, Trial

PRELOAD = ("torch",)
LIMITS = Limits(seconds=4.0)
CALLS = Text("calls of add", "add的调用次数")


def check(trial: Trial) -> None:
    for _ in range(3):
        x_T = torch.randn(trial.random.randint(5, 40), generator=trial.torch_generator())
        calls = 0

        def add(a: float, b: float) -> float:
            nonlocal calls
            calls += 1
            return a + b

        got = trial.call("running_mean", x_T, trial.callback(add))
        mean = x_T.cumsum(0) / torch.arange(1, len(x_T) + 1)
        sums = Hint(
            x_T.cumsum(0), Text("These are sums: divide by the number of elements.", "这是和，还要除以元素个数。")
        )
        trial.expect_tensor(got, mean, rtol=1e-4, atol=1e-5, hints=[sums])
        trial.expect_at_most(calls, len(x_T), what=CALLS)
