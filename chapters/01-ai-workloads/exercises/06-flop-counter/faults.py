"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

CHILDREN = Text(
    "The products of the modules within are counted here as well. Count each product once, in the innermost "
    "running module.",
    "这里把内部各模块的乘法也算进去了。每次乘法只计一次，记在最内层正在运行的模块上。",
)
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
        hint=CHILDREN,
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
        hint=CHILDREN,
    ),
    Fault(
        "batch_forgotten",
        "Takes a batched product for a single one: only the last two axes count.",
        edits=[("result.numel()", "result.shape[-2] * result.shape[-1]")],
        hint=Text(
            "The batch is missing: a batched product runs once for each sequence, and attention's once for each "
            "sequence and key-value head.",
            "漏了批：成批的乘法，每条序列都要做一次；注意力的乘法，则是每条序列的每个键值头各做一次。",
        ),
    ),
    Fault(
        "multiply_adds",
        "Counts a multiplication and an addition as one operation.",
        edits=[("+= 2 * result.numel()", "+= result.numel()")],
        hint=Text(
            "Half of what it should be. A multiplication and an addition are two operations: 2 m k n.",
            "结果只有应得的一半。一次乘法加一次加法是两次运算：2mkn。",
        ),
    ),
    Fault(
        "last_call_counts",
        "Sets the count of a module at each product instead of adding to it.",
        edits=[("self.flops[self.running[-1]] += 2", "self.flops[self.running[-1]] = 2")],
        hint=Text(
            "One product of the module was kept and those before it were lost. A module may run several, or run "
            "several times: add to its count.",
            "这个模块只留下了最后一次乘法，之前的都丢了。一个模块可能做几次乘法，也可能被调用几次：应当累加。",
        ),
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
        hint=Text(
            "Not seen at all. This product is no nn.Linear: the module calls F.linear or @ in its own code. A "
            "TorchDispatchMode sees it, a hook on nn.Linear does not.",
            "完全没有看到。这次乘法不是nn.Linear：模块在自己的代码里调用了F.linear或@；"
            "TorchDispatchMode看得见，nn.Linear上的钩子看不见。",
        ),
    ),
    Fault(
        "batched_products_unseen",
        "Knows mm and addmm, and not the operators of batched products.",
        edits=[("aten.mm, aten.addmm, aten.bmm, aten.baddbmm", "aten.mm, aten.addmm")],
        hint=Text(
            "Attention's own products are not counted. Batched ones arrive as bmm or baddbmm.",
            "没有计入注意力自身的乘法。成批的乘法以`bmm`或`baddbmm`的形式到来。",
        ),
    ),
    Fault(
        "list_of_pairs",
        "Returns a list of pairs in place of a dict.",
        edits=[("return dict(counter.flops)", "return [*counter.flops.items()]")],
    ),
    Fault(
        "bias_counted",
        "Counts the addition of a bias as well.",
        edits=[(COUNT, f"{COUNT}\n            self.flops[self.running[-1]] += (len(args) == 3) * result.numel()")],
    ),
]
