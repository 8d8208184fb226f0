"""A running mean."""

from collections.abc import Callable

import torch


def running_mean(x_T: torch.Tensor, add: Callable[[float, float], float]) -> torch.Tensor:
    """[T] float32 -> [T] float32: mean of x[0..t] at t; `add` adds two numbers, and may be called T times."""
    raise NotImplementedError
