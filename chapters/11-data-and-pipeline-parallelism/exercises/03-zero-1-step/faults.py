"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

BOUNDS = "return rank * shard, (rank + 1) * shard"
REDUCED = "g = reduce_scatter(pad(gradient, padding)) / ranks  # Adam would hide a missing division"
OWN_GRADIENT = Text(
    "This rank used its own gradient alone. Its shard's update needs the mean over all ranks.",
    "这个进程只用了自己的梯度。它那个分片的更新，需要所有进程的平均。",
)
RESULT = "return all_gather(w)[:size], (m, v)"

FAULTS = [
    Fault(
        "shard_cut_off",
        "Ends the last shard where the vector ends.",
        edits=[(BOUNDS, "return min(size, rank * shard), min(size, (rank + 1) * shard)")],
        hint=Text(
            "You cut the shard off at the end of the vector. Collectives want parts of equal length: let it reach into "
            "the padding.",
            "你在向量末尾处把分片截短了。集合通信要求各段等长，应让它伸进填充里。",
        ),
    ),
    Fault(
        "rounded_down",
        "Rounds the length of a shard down.",
        edits=[("shard = -(-size // ranks)", "shard = size // ranks")],
        hint=Text(
            "Rounded down, the shards together are shorter than the vector: its last elements belong to nobody.",
            "向下取整，所有分片加起来比向量短：最后几个元素没有人管。",
        ),
    ),
    Fault(
        "not_padded",
        "Gives the vector to the collective as long as it is.",
        edits=[("reduce_scatter(pad(gradient, padding))", "reduce_scatter(gradient)")],
        told="10 elements on 4 ranks are 4 shards of 3",
    ),
    Fault(
        "divided_before",
        "Divides the gradient before the reduction.",
        edits=[(REDUCED, "g = reduce_scatter(pad(gradient / ranks, padding))")],
        told="The gradient goes in as it is",
    ),
    Fault("m_alone", "Returns one moment.", edits=[(RESULT, "return all_gather(w)[:size], m")]),
    Fault(
        "own_gradient",
        "Updates its shard by this rank's own gradient, and asks nobody else.",
        edits=[(REDUCED, "g = pad(gradient, padding)[first:last]")],
        hint=OWN_GRADIENT,
    ),
    Fault(
        "gathered_twice",
        "Gathers the weights before the step as well.",
        edits=[
            ("w = pad(weights, padding)[first:last]", "w = all_gather(pad(weights, padding)[first:last])[first:last]")
        ],
    ),
    Fault(
        "whole_state",
        "Keeps the moments of all parameters, with zeros for those of other ranks.",
        edits=[(RESULT, "return all_gather(w)[:size], tuple(pad(x, (first, size - last)) for x in (m, v))")],
        hint=Text(
            "These are the moments of all parameters, as plain data parallelism keeps them. This rank needs those of "
            "its shard only.",
            "这是全部参数的矩，与普通数据并行所存的一样。这个进程只需要自己分片的矩。",
        ),
    ),
    Fault(
        "moments_in_bf16",
        "Keeps the moments in bf16.",
        edits=[(RESULT, "return all_gather(w)[:size], (m.bfloat16(), v.bfloat16())")],
    ),
    Fault(
        "sum_not_mean",
        "Takes the sum of the gradients for their mean; Adam's weights hardly show it.",
        edits=[(REDUCED, "g = reduce_scatter(pad(gradient, padding))")],
        hint=Text(
            "This is the moment of the sum over ranks. A batch's gradient is their mean; Adam divides the factor out "
            "of the weights again, so that nothing else would show it.",
            "这是各进程之和的矩。整批的梯度是它们的平均；Adam会把这个倍数从权重里约掉，所以别处看不出来。",
        ),
    ),
    Fault(
        "own_gradient_after_all",
        "Reduces the gradients, and then uses its own.",
        edits=[(REDUCED, f"{REDUCED}\n    g = pad(gradient, padding)[first:last]")],
        hint=OWN_GRADIENT,
    ),
    Fault(
        "decay_in_the_gradient",
        "Adds the weight decay to the gradient, as Adam with L2 regularization does.",
        edits=[
            ("    m = beta1 * m", "    g = g + weight_decay * w\n    m = beta1 * m"),
            ("w = (1 - lr * weight_decay) * w - lr * update", "w = w - lr * update"),
        ],
        hint=Text(
            "The weight decay went into the gradient, as in Adam with L2 regularization. AdamW takes it off the "
            "weights directly.",
            "权重衰减加进了梯度，那是带L2正则的Adam。AdamW直接从权重里扣。",
        ),
    ),
    Fault(
        "state_rounded",
        "Rounds the moments to four digits.",
        edits=[(RESULT, "return all_gather(w)[:size], (m.round(decimals=4), v.round(decimals=4))")],
    ),
    Fault(
        "padding_returned",
        "Returns the weights with their padding.",
        edits=[("all_gather(w)[:size]", "all_gather(w)")],
        hint=Text(
            "These are the weights with their padding. Cut them to the size that came in.",
            "这里带着填充。应截到输入时的长度。",
        ),
    ),
    Fault(
        "shard_returned",
        "Returns the weights of its own shard.",
        edits=[(RESULT, "all_gather(w)\n    return w, (m, v)")],
        hint=Text(
            "This is one shard. Every rank needs all new weights for its next forward pass: return what was gathered.",
            "这只是一个分片。下一次前向传播时，每个进程都需要全部新权重：应返回收集到的结果。",
        ),
    ),
    Fault(
        "no_bias_correction",
        "Forgets that the moments began at zero.",
        edits=[("(m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)", "m / (v.sqrt() + eps)")],
        hint=Text(
            "The moments are not corrected for having begun at zero: divide them by 1 - beta**step.",
            "没有修正矩从零开始造成的偏差：应除以1 - beta**step。",
        ),
    ),
    Fault(
        "eps_under_the_root",
        "Adds eps under the root.",
        edits=[("((v / (1 - beta2**step)).sqrt() + eps)", "(v / (1 - beta2**step) + eps).sqrt()")],
        hint=Text("eps stands under the root. It is added to the root.", "eps放到根号里去了，它应加在根号外面。"),
    ),
    Fault(
        "no_weight_decay",
        "Leaves the weight decay out.",
        edits=[("w = (1 - lr * weight_decay) * w - lr * update", "w = w - lr * update")],
        hint=Text("The weight decay is missing.", "漏了权重衰减。"),
    ),
    Fault(
        "decay_after_the_update",
        "Decays the weights after the update, which differs by the product of the two.",
        edits=[("w = (1 - lr * weight_decay) * w - lr * update", "w = (1 - lr * weight_decay) * (w - lr * update)")],
    ),
]
