"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "total_parameters",
        "Takes N to be all parameters, also those of experts that a token does not visit.",
        edits=[("parameters(config).active", "parameters(config).total")],
        hint=Text(
            "You took all parameters. A token visits top_k experts a layer; N is the active parameters.",
            "你用了总参数。一个词元在每层只去top_k个专家，N应取激活参数。",
        ),
    ),
    Fault(
        "key_value_heads",
        "Counts scores for key-value heads, though each query head has scores of its own.",
        edits=[("config.n_layers * config.n_heads", "config.n_layers * config.n_kv_heads")],
        hint=Text(
            "You counted scores of key-value heads. Each of the n_heads query heads computes scores of its own.",
            "你按键值头来数分数了。n_heads个查询头各自都要算分数。",
        ),
    ),
    Fault(
        "forward_attention",
        "Sets the forward pass of attention, 4 L H K T, against 6N.",
        edits=[("12 * config.n_layers", "4 * config.n_layers")],
        hint=Text(
            "You set attention's forward pass against 6N, which holds the backward pass as well.",
            "你拿注意力的前向传播去和6N比，而6N已包含反向传播。",
        ),
    ),
    Fault(
        "halved_always",
        "Halves attention's term also where the masked half is computed.",
        edits=[("if skip_masked:", "if True:")],
        hint=Text(
            "Attention's term is half of what it should be: 12 L H K T, and half of that only where skip_masked is "
            "true.",
            "注意力的一项只有应得的一半：应为12 L H K T，只有skip_masked为真时才减半。",
        ),
    ),
    Fault(
        "never_halved",
        "Counts the masked half also where it is not computed.",
        edits=[("per_position /= 2", "pass")],
        hint=Text(
            "Attention's term is twice what it should be: where skip_masked is true, half of it is not computed.",
            "注意力的一项是应得的两倍：skip_masked为真时，有一半不算。",
        ),
    ),
    Fault(
        "share_of_the_total",
        "Returns attention's part of 6ND, and not the factor by which the total exceeds it.",
        edits=[("return 1 + sequence", "return sequence")],
        hint=Text(
            "This is attention's term as a part of 6ND. Wanted is the factor of the whole: 1 more.",
            "这是注意力的一项与6ND之比。要的是总代价的倍数，还要加1。",
        ),
    ),
    Fault(
        "upside_down",
        "Divides 6ND by the true cost.",
        edits=[
            (
                "1 + sequence / equal_length(config, skip_masked)",
                "1 / (1 + sequence / equal_length(config, skip_masked))",
            )
        ],
        hint=Text("Upside down: 6ND / true cost.", "倒过来了：这是6ND除以真实代价。"),
    ),
    Fault(
        "without_norms",
        "Leaves the norms, a ten-thousandth, out of N.",
        edits=[("parameters(config).active", "(parameters(config).active - parameters(config).norm)")],
    ),
]
