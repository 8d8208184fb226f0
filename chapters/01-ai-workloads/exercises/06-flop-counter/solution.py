"""Which module of a model does how many floating-point operations."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}


class ProductCounter(TorchDispatchMode):
    """Adds the FLOPs of every matrix product to the innermost running module."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.flops: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            left = args[-2]  # the last two are the factors; a bias to add stands before them
            self.flops[self.running[-1]] += 2 * result.numel() * left.shape[-1]
        return result


def flops_by_module(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Run `model(inputs)` once and count the FLOPs of its matrix products, each in the innermost running module."""
    counter, hooks = ProductCounter(), []

    def leave(*_) -> None:  # a hook that returned anything would replace the module's output
        counter.running.pop()

    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: counter.running.append(name)))
        hooks.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad(), counter:
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return dict(counter.flops)
