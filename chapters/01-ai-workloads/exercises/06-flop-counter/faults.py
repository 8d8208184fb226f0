"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "batch_forgotten",
        "Takes a batched product for a single one: only the last two axes count.",
        told="The batch is missing: a batched product runs once for each",
        text="""\
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
""",
    ),
    Fault(
        "children_included",
        "Adds a product to every running module, not to the innermost alone.",
        told="The products of the modules within are counted here as",
        text="""\
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
            for name in self.running:
                self.flops[name] += 2 * result.numel() * args[-2].shape[-1]
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
""",
    ),
    Fault(
        "last_call_counts",
        "Sets the count of a module at each product instead of adding to it.",
        told="Half of what it should be. A multiplication and an addition",
        text="""\
import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class ProductCounter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.running, self.flops = [], {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}:
            self.flops[self.running[-1]] = 2 * result.numel() * args[-2].shape[-1]
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
""",
    ),
    Fault(
        "linear_hooks_only",
        "Hooks nn.Linear alone: attention's products, the head and the experts pass unseen.",
        told="Not seen at all. This product is no nn.Linear: the module",
        text="""\
from collections import Counter

import torch
from torch import nn


def flops_by_module(model, inputs):
    flops = Counter()

    def count(name, module, args):
        flops[name] += 2 * args[0].numel() * module.out_features

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda module, args, name=name: count(name, module, args))
    with torch.no_grad():
        model(inputs)
    return dict(flops)
""",
    ),
    Fault(
        "multiply_adds",
        "Counts a multiplication and an addition as one operation.",
        told="Half of what it should be. A multiplication and an addition",
        text="""\
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
            self.flops[self.running[-1]] += result.numel() * args[-2].shape[-1]
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
""",
    ),
]
