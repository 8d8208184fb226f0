"""A running mean."""

import torch


def running_mean(x_T, add):
    total, means = 0.0, []
    for t, x in enumerate(x_T.tolist()):
        total = add(total, x)
        means.append(total / (t + 1))
    return torch.tensor(means)
