"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "no_overlap",
        "Takes every choice for another expert, until there are no more.",
        told="You took every choice for another expert. Different tokens",
        text="""\
def expected_experts(n_experts, top_k, batch):
    return float(min(n_experts, top_k * batch))


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
""",
    ),
    Fault(
        "one_too_many",
        "Counts on while the share is reached, and so ends one batch late.",
        told="This batch reaches the share, but it is not the smallest",
        text="""\
import math


def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    return math.floor(math.log(1 - share) / math.log(1 - top_k / n_experts)) + 2
""",
    ),
    Fault(
        "uses_of_all_experts",
        "Divides the choices by all experts, also by those that nobody chose.",
        told="You divided by all experts. An expert that nobody chose is",
        text="""\
def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / n_experts


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
""",
    ),
    Fault(
        "with_replacement",
        "Lets a token draw the same expert twice: (1 - 1/E)^(k B) instead of (1 - k/E)^B.",
        told="You let one token draw the same expert twice. Its top_k",
        text="""\
def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - 1 / n_experts) ** (top_k * batch))


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
""",
    ),
]
