"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "from_the_start",
        "Adds every prefix anew.",
        text="""\
import torch


def running_mean(x_T, add):
    values, means = x_T.tolist(), []
    for t in range(len(values)):
        total = 0.0
        for x in values[: t + 1]:
            total = add(total, x)
        means.append(total / (t + 1))
    return torch.tensor(means)
""",
    ),
    Fault(
        "sums",
        "Forgets to divide.",
        told="These are sums",
        text="""\
import torch


def running_mean(x_T, add):
    return torch.cumsum(x_T, 0)
""",
    ),
]
