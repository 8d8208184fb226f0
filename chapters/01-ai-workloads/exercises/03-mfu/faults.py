"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "key_value_heads",
        "Counts scores for key-value heads.",
        edits=[("config.n_layers * config.n_heads * per_head", "config.n_layers * config.n_kv_heads * per_head")],
        hint=Text(
            "You counted key-value heads. Sharing keys and values saves bytes, not operations: every query head "
            "computes scores of its own.",
            "你按键值头计数了。共用键和值省的是字节，不是运算：每个查询头都要算自己的分数。",
        ),
    ),
    Fault(
        "forward_only",
        "Counts the forward pass of attention alone, and forgets that training goes back as well.",
        edits=[("return 3 * forward", "return forward")],
        hint=Text(
            "This is the forward pass alone. The backward pass takes two products for each of its products.",
            "这只是前向传播。前向的每一次乘法，反向传播都要再做两次。",
        ),
    ),
    Fault(
        "one_head_size",
        "Takes 12 L H K T for every model, though latent attention has narrower values.",
        edits=[("value_dim = config.mla.v_dim if config.mla else config.head_dim", "value_dim = config.head_dim")],
        hint=Text(
            "12 L H K T holds where a value is as wide as a key. Here a value has config.mla.v_dim elements.",
            "12 L H K T只在值与键一样宽时成立。这个模型的值有config.mla.v_dim个分量。",
        ),
    ),
    Fault(
        "multiply_adds",
        "Counts a multiplication and an addition as one operation.",
        edits=[("per_head = 2 * sequence", "per_head = sequence")],
        hint=Text(
            "Half of what it should be: count both products (scores, averages), and two operations for each "
            "multiply-add.",
            "结果只有应得的一半：求分数和加权平均两次乘法都要计，而且一次乘加是两次运算。",
        ),
    ),
    Fault(
        "mask_reversed",
        "Halves the count where the masked half is computed.",
        edits=[("(0.5 if skip_masked else 1.0)", "(1.0 if skip_masked else 0.5)")],
        hint=Text(
            "skip_masked the other way round: where it is true, half of the scores are not computed.",
            "skip_masked用反了：它为真时，有一半分数不算。",
        ),
    ),
    Fault(
        "one_position_less",
        "Leaves out the score of a token with itself.",
        edits=[("per_head = 2 * sequence", "per_head = 2 * (sequence - 1)")],
    ),
    Fault(
        "rate_alone",
        "Returns the rate without the share of the peak.",
        edits=[("return rate, rate / peak", "return rate")],
    ),
    Fault(
        "hours_as_seconds",
        "Divides by hours where seconds are meant.",
        edits=[("(3600 * device_hours)", "device_hours")],
        hint=Text("Per hour instead of per second.", "这是每小时的运算量，不是每秒的。"),
    ),
    Fault(
        "two_n",
        "Counts 2N FLOPs a token, the forward pass, for a training run.",
        edits=[("6 * active_parameters", "2 * active_parameters")],
        hint=Text("2N a token is the forward pass. Training takes 6N.", "每个词元2N只是前向传播。训练是6N。"),
    ),
    Fault(
        "attention_forgotten",
        "Leaves attention out of the FLOPs of a token.",
        edits=[("(6 * active_parameters + attention_per_token)", "6 * active_parameters")],
        hint=Text(
            "Without attention: add `attention_per_token` to 6N before you multiply by the tokens.",
            "漏了注意力：先把`attention_per_token`加到6N上，再乘以词元数。",
        ),
    ),
    Fault(
        "backward_twice",
        "Multiplies attention by three again, which holds the backward pass already.",
        edits=[("+ attention_per_token)", "+ 3 * attention_per_token)")],
        hint=Text(
            "`attention_per_token` already holds the backward pass: do not multiply it again.",
            "`attention_per_token`已经包含反向传播，不要再乘。",
        ),
    ),
    Fault(
        "six_times_both",
        "Multiplies the sum of parameters and attention by six.",
        edits=[("(6 * active_parameters + attention_per_token)", "6 * (active_parameters + attention_per_token)")],
        hint=Text(
            "`attention_per_token` is in FLOPs already: the 6 belongs to the parameters alone.",
            "`attention_per_token`的单位已经是FLOPs，6只乘参数。",
        ),
    ),
    Fault(
        "per_cent",
        "Returns the share in percent.",
        edits=[("return rate, rate / peak", "return rate, 100 * rate / peak")],
        hint=Text("A fraction is wanted, not a percentage.", "应返回小数形式的份额，不是百分数。"),
    ),
]
