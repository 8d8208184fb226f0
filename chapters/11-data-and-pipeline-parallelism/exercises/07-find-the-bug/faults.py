"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

LOSS = "loss = cross_entropy(x, y) * len(y) / len(targets)  # its part of the batch's mean"
TIED = "gradients[one] = gradients[other] = gradients[one] + gradients[other]"
FACTOR_HINT = Text(
    "Each micro-batch's mean loss counts in full here, so that everything is the sum of means. The mean over the "
    "batch is wanted; AdamW divides the factor out again and hides it, SGD and clipping do not.",
    "这里每个微批次的平均损失都按一整份计，结果是各平均值之和。要的是整个批次的平均；"
    "AdamW会把这个倍数约掉，看不出来，SGD和梯度裁剪则不会。",
)
TIED_HINT = Text(
    "This is the gradient of one copy alone. The parameter is used in two places, so its gradient is the sum of "
    "both; only then do the copies stay equal.",
    "这只是一份副本的梯度。这个参数用在两处，它的梯度是两处之和；只有这样，两份副本才会一直相等。",
)

FAULTS = [
    Fault(
        "as_it_was",
        "The colleague's code: micro-batches count in full, tied weights on their own.",
        edits=[(LOSS, "loss = cross_entropy(x, y)"), (TIED, "pass")],
        hint=FACTOR_HINT,
    ),
    Fault(
        "means_summed",
        "Counts every micro-batch in full, and mends the tied weights.",
        edits=[(LOSS, "loss = cross_entropy(x, y)")],
        hint=FACTOR_HINT,
    ),
    Fault(
        "equal_shares",
        "Divides by the number of micro-batches, also where they differ in size.",
        edits=[(LOSS, "loss = cross_entropy(x, y) / len(sizes)")],
        hint=Text(
            "Every micro-batch counts the same here, also the smaller ones. In the batch's mean each sample counts the "
            "same: a micro-batch of b samples has the share b / B.",
            "这里每个微批次的分量都一样，小的也不例外。对整个批次求平均，是每个样本的分量一样："
            "有b个样本的微批次占b / B。",
        ),
    ),
    Fault(
        "tied_averaged",
        "Averages the two copies' gradients.",
        edits=[(TIED, TIED.replace("= gradients[one] +", "= (gradients[one] +") + ") / 2")],
        hint=Text(
            "The two copies' gradients were averaged. They are parts of one gradient: add them.",
            "这里对两份副本的梯度取了平均。它们是同一个梯度的两部分，应当相加。",
        ),
    ),
    Fault(
        "tied_forgotten",
        "Leaves each copy of a tied parameter its own gradient.",
        edits=[(TIED, "pass")],
        hint=TIED_HINT,
    ),
    Fault(
        "tied_one_way",
        "Gives the sum to the embedding alone, and leaves the head's copy as it was.",
        edits=[(TIED, "gradients[one] = gradients[one] + gradients[other]")],
        hint=TIED_HINT,
    ),
    Fault("gradients_alone", "Returns the gradients.", edits=[("return total, gradients", "return gradients")]),
    Fault(
        "names_without_stage",
        "Names a parameter without its stage.",
        edits=[('f"{number}.{name}": parameter.grad', "name: parameter.grad")],
    ),
    Fault(
        "loss_of_the_last",
        "Returns the loss of the last micro-batch.",
        edits=[("total += loss.item()", "total = loss.item()")],
    ),
    Fault(
        "sent_in_bf16",
        "Sends gradients between stages in bf16.",
        edits=[("output.backward(received.grad)", "output.backward(received.grad.bfloat16().float())")],
    ),
]
