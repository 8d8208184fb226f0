"""Forgets to divide."""

import torch


def running_mean(x_T, add):
    return torch.cumsum(x_T, 0)
