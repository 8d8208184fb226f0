"""Which module of a model does how many floating-point operations."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


def flops_by_module(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Run `model(inputs)` once and count the FLOPs of its matrix products.

    Each product counts in the innermost module that is running.

    Args:
        model: any module whose products are nn.Linear, F.linear and @; a
            module may be called several times.
        inputs: what the model takes, for instance tokens [B, T] for a
            Transformer.

    Returns:
        {name in model.named_modules(): FLOPs}, without the modules in which no
        product ran.

    Example: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7)) on
    inputs of shape [2, 4, 3]:
        {"0": 240, "2": 560}.
    """
    raise NotImplementedError
