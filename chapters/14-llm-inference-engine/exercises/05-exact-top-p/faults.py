"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

ONE_TOO_MANY = Text(
    "One token too many: at the one before it the sum is exactly p, which is 'at least p'. Sums of equal numbers are "
    "exact if nothing has been divided: compare the sum of the weights with p times their total.",
    "多了一个词元：加到前一个时，总和恰好等于p，“至少为p”已经满足。只要没有做过除法，相等的数之和就是精确的："
    "应把权重之和与p乘以总权重相比。",
)
BEFORE = """\
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:])"""

FAULTS = [
    Fault(
        "greedy_keeps_ties",
        "Keeps all of several largest logits at temperature 0.",
        edits=[
            (
                "    return torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)",
                """\
    kept_BV = torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)
    return kept_BV | ((temperature_B == 0)[:, None] & (logits_BV == logits_BV.amax(dim=1, keepdim=True)))""",
            ),
        ],
        hint=Text(
            "Of several largest logits, temperature 0 keeps the one with the smallest id, and no other.",
            "最大的logit有几个并列时，温度0只保留id最小的那一个。",
        ),
    ),
    Fault(
        "greedy_obeys_k_and_p",
        "Keeps what k and p leave at temperature 0, too.",
        edits=[
            (
                "torch.where(temperature_B == 0, 1, torch.where(k_B == 0, V, k_B.clamp(max=V)))",
                "torch.where(k_B == 0, V, k_B.clamp(max=V))",
            ),
        ],
        hint=Text(
            "Temperature 0 keeps one token, the likeliest, whatever k and p are.",
            "温度为0时只保留一个词元，即最可能的，不管k和p是多少。",
        ),
    ),
    Fault(
        "divided_by_zero",
        "Divides by a temperature of 0.",
        edits=[("torch.where(temperature_B == 0, 1.0, temperature_B)", "temperature_B")],
        hint=Text(
            "Dividing by a temperature of 0 gives no numbers. Treat it by itself.",
            "温度为0时，拿它作除数得不到有意义的数。应单独处理。",
        ),
    ),
    Fault(
        "impossible_kept",
        "Keeps tokens of probability 0 where k and p let all through.",
        edits=[("needed_BV & finite_BV & ", "needed_BV & ")],
        hint=Text(
            "A token with a logit of -inf has probability 0 and is never kept, not even by p = 1.",
            "logit为-inf的词元概率为0，任何时候都不保留，p = 1时也不例外。",
        ),
    ),
    Fault(
        "tail_cut_at_p_1",
        "Compares a running sum with p = 1, which it reaches before the last tokens.",
        edits=[(" | (p_B[:, None] == 1)", "")],
        hint=Text(
            "p = 1 lets all through that top-k has left. A sum of floating-point numbers reaches 1 before the last "
            "of them.",
            "p = 1应放过top-k留下的全部词元。浮点数的和不等加到最后一个就已经到1了。",
        ),
    ),
    Fault(
        "last_token_dropped",
        "Keeps tokens while the sum is within p, without the one that reaches it.",
        edits=[(BEFORE, "    needed_BV = (sums_BV <= p_B[:, None] * sums_BV[:, -1:])")],
        hint=Text(
            "The last token is missing: the one whose probability brings the sum to p belongs to the set.",
            "少了最后一个词元：使总和达到p的那一个也属于这个集合。",
        ),
    ),
    Fault(
        "one_more_at_the_boundary",
        "Needs more than p, where p is enough.",
        edits=[("(before_BV < p_B", "(before_BV <= p_B")],
        hint=ONE_TOO_MANY,
    ),
    Fault(
        "probabilities_summed",
        "Divides first: equal probabilities are rounded, and no longer sum to exactly p.",
        edits=[
            (
                "sums_BV = weights_BV.cumsum(1)\n    #",
                "sums_BV = (weights_BV / weights_BV.sum(1, keepdim=True)).cumsum(1)\n    #",
            ),
            ("p_B[:, None] * sums_BV[:, -1:])", "p_B[:, None])"),
        ],
        hint=ONE_TOO_MANY,
    ),
    Fault(
        "ties_kept",
        "Keeps all tokens whose logit is that of the last one.",
        edits=[
            (
                "    return torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)",
                """\
    least_B1 = logits_BV.gather(1, ids_BV).where(head_BV, torch.inf).amin(dim=1, keepdim=True)
    greedy_BV = torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)
    return torch.where((temperature_B == 0)[:, None], greedy_BV, logits_BV >= least_B1)""",
            ),
        ],
        hint=Text(
            "You kept all tokens with the logit of the last one. Of equal ones only as many are kept as are needed, "
            "those with the smaller ids.",
            "与最后一个词元logit相等的，你都保留了。相等的词元只保留够用的几个，取id较小的。",
        ),
    ),
    Fault(
        "larger_ids_first",
        "Sorts ascending and reverses, so that of equal tokens the larger ids come first.",
        edits=[("argsort(dim=1, descending=True, stable=True)", "argsort(dim=1, stable=True).flip(1)")],
        hint=Text(
            "Right in number, but of equal tokens those with the smaller ids come first. Is your sort stable?",
            "个数对了，但相等的词元应是id较小的在前。你用的排序稳定吗？",
        ),
    ),
    Fault(
        "p_of_all_tokens",
        "Applies top-p to the whole vocabulary and then top-k.",
        edits=[(".masked_fill(rank_V >= k_B1, 0.0)", "")],
        hint=Text(
            "You took p of the whole vocabulary. Top-k comes first; p is a part of what it has left.",
            "你在整个词表上做了top-p。应先做top-k，再只在它留下的词元中做top-p，概率要除以它们的和。",
        ),
    ),
    Fault(
        "kept_at_temperature_1",
        "Keeps what top-p keeps of the probabilities at temperature 1.",
        edits=[("_weights(logits_BV, temperature_B)", "_weights(logits_BV, torch.ones_like(temperature_B))")],
        hint=Text(
            "This is what temperature 1 keeps. The temperature changes the probabilities, and comes first.",
            "这是温度为1时保留的词元。温度会改变概率，应最先处理。",
        ),
    ),
    Fault(
        "float32",
        "Sums in float32, in which the tail is lost.",
        edits=[
            ("    logits_BV = logits_BV.double()\n", ""),
            (
                "_weights(logits_BV, temperature_B).gather(1, ids_BV)",
                "_weights(logits_BV, temperature_B.float()).gather(1, ids_BV)",
            ),
        ],
        hint=Text(
            "Nearly: this is rounding. Sum in float64, and compare the sum of the weights with p times their total.",
            "差一点：这是舍入误差。应在float64中求和，并把权重之和与p乘以总权重相比。",
        ),
    ),
    Fault(
        "drawn_from_all",
        "Draws from all tokens, those not kept included.",
        edits=[(".where(kept_BV, 0.0)", "")],
        hint=Text(
            "You drew from all tokens. Those that are not kept have the weight 0.",
            "你是从全部词元中采样的。没有保留的词元，权重应为0。",
        ),
    ),
    Fault(
        "drawn_where_reached",
        "Draws the token at which the sum reaches u, which at u = 0 is one that is not kept.",
        edits=[("torch.searchsorted(sums_BV, aim_B1, right=True)", "torch.searchsorted(sums_BV, aim_B1)")],
        hint=Text(
            "At this token the sum only reaches u times the total; at u = 0 that is one that is not kept. Wanted is "
            "the first at which it exceeds it.",
            "总和在这个词元处只是达到u乘以总权重；u = 0时，那是一个没有保留的词元。要取的是第一个超过它的。",
        ),
    ),
    Fault(
        "drawn_from_probabilities",
        "Divides first, so that the sums may end below u.",
        edits=[
            (
                "sums_BV = weights_BV.cumsum(1)\n    total",
                "sums_BV = (weights_BV / weights_BV.sum(1, keepdim=True)).cumsum(1)\n    total",
            ),
            ("uniform_B[:, None] * total_B1", "uniform_B[:, None]"),
        ],
        hint=Text(
            "This is no token: none of your running sums exceeds u times the total. Is the total the last of them, "
            "and all of it in float64? Probabilities that were divided need not sum to 1.",
            "没有这个词元：你的部分和没有一个超过u乘以总权重。总权重取的是最后一个部分和吗？全程都用float64吗？"
            "概率做过除法之后，和不一定是1。",
        ),
    ),
    Fault(
        "drawn_by_rank",
        "Draws along the tokens in the order of probability.",
        edits=[
            (
                "    weights_BV = _weights(logits_BV.double(), temperature_B).where(kept_BV, 0.0)",
                """\
    ids_BV = logits_BV.argsort(dim=1, descending=True, stable=True)
    weights_BV = _weights(logits_BV.double(), temperature_B).where(kept_BV, 0.0).gather(1, ids_BV)""",
            ),
            (
                "torch.searchsorted(sums_BV, aim_B1, right=True)[:, 0]",
                "ids_BV.gather(1, torch.searchsorted(sums_BV, aim_B1, right=True))[:, 0]",
            ),
        ],
        hint=Text(
            "You added up in the order of probability. The running sum goes by token id.",
            "你按概率的次序累加了。应按词元id的次序累加。",
        ),
    ),
    Fault(
        "drawn_at_temperature_1",
        "Draws with the probabilities at temperature 1.",
        edits=[("_weights(logits_BV.double(), temperature_B)", "_weights(logits_BV.double(), temperature_B * 0 + 1)")],
        hint=Text(
            "You drew at temperature 1. The temperature applies to what is drawn as well.",
            "你按温度1采样了。采样时同样要用温度。",
        ),
    ),
]
