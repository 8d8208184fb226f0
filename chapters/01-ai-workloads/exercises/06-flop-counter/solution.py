"""Which module of a model does how many floating-point operations."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}


class ProductCounter(TorchDispatchMode):
    """Adds the FLOPs of every product to the innermost running module."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.flops: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            left = args[-2]  # behind a bias, if there is one to add
            self.flops[self.running[-1]] += 2 * result.numel() * left.shape[-1]
        return result


def flops_by_module(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Count the FLOPs of `model(inputs)`, each in the innermost module."""
    counter, hooks = ProductCounter(), []

    def enter(name: str) -> None:
        counter.running.append(name)

    def leave(*_) -> None:  # what a hook returns replaces the output
        counter.running.pop()

    for name, module in model.named_modules():
        begin = module.register_forward_pre_hook(lambda *_, name=name: enter(name))
        hooks.append(begin)
        hooks.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad(), counter:
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return dict(counter.flops)
