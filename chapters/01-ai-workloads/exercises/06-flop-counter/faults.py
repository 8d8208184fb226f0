"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

COUNT = "self.flops[self.running[-1]] += 2 * result.numel() * left.shape[-1]"

FAULTS = [
    Fault(
        "children_included",
        "Adds a product to every running module, not to the innermost alone.",
        edits=[
            (
                COUNT,
                "for name in set(self.running):\n"
                "                self.flops[name] += 2 * result.numel() * left.shape[-1]",
            )
        ],
        told="The products of the modules within are counted here as",
    ),
    Fault(
        "children_in_the_outermost",
        "Adds the products of every module to the whole model as well.",
        edits=[
            (
                COUNT,
                f"{COUNT}\n"
                "            if len(self.running) > 1:\n"
                "                self.flops[self.running[0]] += 2 * result.numel() * left.shape[-1]",
            )
        ],
        told="The products of the modules within are counted here as",
    ),
    Fault(
        "batch_forgotten",
        "Takes a batched product for a single one: only the last two axes count.",
        edits=[("result.numel()", "result.shape[-2] * result.shape[-1]")],
        told="The batch is missing: a batched product runs once for each",
    ),
    Fault(
        "multiply_adds",
        "Counts a multiplication and an addition as one operation.",
        edits=[("+= 2 * result.numel()", "+= result.numel()")],
        told="Half of what it should be. A multiplication and an addition",
    ),
    Fault(
        "last_call_counts",
        "Sets the count of a module at each product instead of adding to it.",
        edits=[("self.flops[self.running[-1]] += 2", "self.flops[self.running[-1]] = 2")],
        told="Half of what it should be. A multiplication and an addition",
    ),
    Fault(
        "linear_hooks_only",
        "Hooks nn.Linear alone: attention's products, the head and the experts pass unseen.",
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
        told="Not seen at all. This product is no nn.Linear: the module",
    ),
    Fault(
        "modules_as_keys",
        "Returns a list of pairs in place of a dict.",
        edits=[("return dict(counter.flops)", "return [*counter.flops.items()]")],
    ),
    Fault(
        "bias_counted",
        "Counts the addition of a bias as well.",
        edits=[(COUNT, f"{COUNT}\n            self.flops[self.running[-1]] += (len(args) == 3) * result.numel()")],
    ),
]
