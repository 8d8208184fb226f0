"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

EXPECTED = "return n_experts * (1 - (1 - top_k / n_experts) ** batch)"
COUNTED = "while expected_experts(n_experts, top_k, batch) < share * n_experts:"

FAULTS = [
    Fault(
        "one_too_many",
        "Counts on while the share is reached, and so ends one batch late.",
        edits=[(COUNTED, COUNTED.replace("top_k, batch)", "top_k, batch - 1)"))],
        hint=Text(
            "This batch reaches the share, but it is not the smallest that does: one request fewer is enough.",
            "这个批大小够了，但不是最小的：少一个请求也够。",
        ),
    ),
    Fault(
        "with_replacement",
        "Lets a token draw the same expert twice: (1 - 1/E)^(k B) instead of (1 - k/E)^B.",
        edits=[(EXPECTED, "return n_experts * (1 - (1 - 1 / n_experts) ** (top_k * batch))")],
        hint=Text(
            "You let one token draw the same expert twice. Its top_k experts are different: it misses a given expert "
            "with probability 1 - top_k / n_experts.",
            "你让同一个词元两次抽到同一个专家。它的top_k个专家各不相同："
            "不用某个给定专家的概率是1 - top_k / n_experts。",
        ),
    ),
    Fault(
        "no_overlap",
        "Takes every choice for another expert, until there are no more.",
        edits=[(EXPECTED, "return float(min(n_experts, top_k * batch))")],
        hint=Text(
            "You took every choice for another expert. Different tokens often choose the same one.",
            "你把每次选择都当成了新的专家。不同的词元常常选中同一个。",
        ),
    ),
    Fault(
        "experts_missed",
        "Returns the experts that nobody reads.",
        edits=[(EXPECTED, "return n_experts * (1 - top_k / n_experts) ** batch")],
        hint=Text(
            "These are the experts that nobody reads. Subtract them from n_experts.",
            "这是没有读到的专家数，应从n_experts中减去。",
        ),
    ),
    Fault(
        "rounded",
        "Rounds the expected number to four digits.",
        edits=[(EXPECTED, f"{EXPECTED.replace('return ', 'return round(')}, 4)")],
    ),
    Fault(
        "uses_of_all_experts",
        "Divides the choices by all experts, also by those that nobody chose.",
        edits=[("batch * top_k / expected_experts(n_experts, top_k, batch)", "batch * top_k / n_experts")],
        hint=Text(
            "You divided by all experts. An expert that nobody chose is not read: divide by those that are.",
            "你除以了全部专家。没有词元选的专家不会被读；应除以所读的专家数。",
        ),
    ),
    Fault(
        "one_too_few",
        "Stops at the last batch that stays below the share.",
        edits=[(COUNTED, COUNTED.replace("top_k, batch)", "top_k, batch + 1)"))],
        hint=Text(
            "One too few: this batch stays just below the share.",
            "少了一个：在这个批大小下，所读专家数的期望还略低于所要的份额。",
        ),
    ),
]
