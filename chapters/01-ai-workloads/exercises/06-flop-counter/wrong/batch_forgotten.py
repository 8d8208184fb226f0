"""Takes a batched product for a single one: only the last two axes count."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class ProductCounter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.running, self.flops = [], Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}:
            rows, columns = result.shape[-2:]
            self.flops[self.running[-1]] += 2 * rows * columns * args[-2].shape[-1]
        return result


def flops_by_module(model, inputs):
    counter = ProductCounter()

    def leave(*_):
        counter.running.pop()

    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: counter.running.append(name))
        module.register_forward_hook(leave)
    with torch.no_grad(), counter:
        model(inputs)
    return dict(counter.flops)
