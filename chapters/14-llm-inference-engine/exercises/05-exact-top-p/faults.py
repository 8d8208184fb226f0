"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "drawn_by_rank",
        "Draws along the tokens in the order of probability.",
        told="You added up in the order of probability. The running sum",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
""",
                "",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
    weights_BV = _weights(logits_BV.double(), temperature_B).where(kept_BV, 0.0)''',
                """\
    ids_BV = logits_BV.argsort(dim=1, descending=True, stable=True)
    weights_BV = _weights(logits_BV.double(), temperature_B).where(kept_BV, 0.0).gather(1, ids_BV)""",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
    aim_B1 = uniform_B[:, None] * total_B1
    return torch.searchsorted(sums_BV, aim_B1, right=True)[:, 0]""",
                """\
    aim_B1 = uniform_B[:, None] * total_B1
    return ids_BV.gather(1, torch.searchsorted(sums_BV, aim_B1, right=True))[:, 0]""",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "drawn_where_reached",
        "Draws the token at which the sum reaches u, which at u = 0 is one that is not kept.",
        told="At this token the sum only reaches u times the total.",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
""",
                "",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
    aim_B1 = uniform_B[:, None] * total_B1
    return torch.searchsorted(sums_BV, aim_B1, right=True)[:, 0]""",
                """\
    aim_B1 = uniform_B[:, None] * total_B1
    return torch.searchsorted(sums_BV, aim_B1)[:, 0]""",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "float32",
        "Sums in float32, in which the tail is lost.",
        told="Nearly: this is rounding. Sum in float64, and compare the",
        text="""\
import torch
from torch import Tensor


def keep(logits_BV: Tensor, temperature_B: Tensor, k_B: Tensor, p_B: Tensor) -> Tensor:
    V = logits_BV.shape[1]
    ids_BV = logits_BV.argsort(dim=1, descending=True, stable=True)
    rank_V = torch.arange(V)
    k_B1 = torch.where(temperature_B == 0, 1, torch.where(k_B == 0, V, k_B.clamp(max=V)))[:, None]
    weights_BV = _weights(logits_BV, temperature_B).gather(1, ids_BV).masked_fill(rank_V >= k_B1, 0.0)
    sums_BV = weights_BV.cumsum(1)
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)
    finite_BV = logits_BV.gather(1, ids_BV) > -torch.inf
    head_BV = needed_BV & finite_BV & (rank_V < k_B1)
    return torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)


def draw(logits_BV: Tensor, kept_BV: Tensor, temperature_B: Tensor, uniform_B: Tensor) -> Tensor:
    weights_BV = _weights(logits_BV, temperature_B).where(kept_BV, 0.0)
    sums_BV = weights_BV.cumsum(1)
    total_B1 = sums_BV[:, -1:]
    aim_B1 = torch.minimum(uniform_B[:, None].float() * total_B1, total_B1.nextafter(torch.zeros_like(total_B1)))
    return torch.searchsorted(sums_BV, aim_B1, right=True)[:, 0]


def _weights(logits_BV: Tensor, temperature_B: Tensor) -> Tensor:
    below_BV = logits_BV - logits_BV.amax(dim=1, keepdim=True)
    return (below_BV / torch.where(temperature_B == 0, 1.0, temperature_B)[:, None].float()).exp()
""",
    ),
    Fault(
        "larger_ids_first",
        "Sorts ascending and reverses, so that of equal tokens the larger ids come first.",
        told="Of several largest logits, temperature 0 keeps the one with",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                "ids_BV = logits_BV.argsort(dim=1, descending=True, stable=True)",
                "ids_BV = logits_BV.argsort(dim=1, stable=True).flip(1)",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
""",
                "",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "last_token_dropped",
        "Keeps tokens while the sum is within p, without the one that reaches it.",
        told="The last token is missing: the one whose probability brings",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)""",
                "    needed_BV = (sums_BV <= p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "one_more_at_the_boundary",
        "Needs more than p, where p is enough.",
        told="One token too many: at the one before it the sum is exactly",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)""",
                """\
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV <= p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)""",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "p_of_all_tokens",
        "Applies top-p to the whole vocabulary and then top-k.",
        told="You took p of the whole vocabulary. Top-k comes first; p is",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    weights_BV = _weights(logits_BV, temperature_B).gather(1, ids_BV).masked_fill(rank_V >= k_B1, 0.0)
    sums_BV = weights_BV.cumsum(1)
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.""",
                """\
    weights_BV = _weights(logits_BV, temperature_B).gather(1, ids_BV)
    sums_BV = weights_BV.cumsum(1)""",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "probabilities_summed",
        "Divides first: equal probabilities are rounded, and no longer sum to exactly p.",
        told="One token too many: at the one before it the sum is exactly",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    sums_BV = weights_BV.cumsum(1)
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)""",
                """\
    sums_BV = (weights_BV / weights_BV.sum(1, keepdim=True)).cumsum(1)
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None]) | (p_B[:, None] == 1)""",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
    Fault(
        "tail_cut_at_p_1",
        "Compares a running sum with p = 1, which it reaches before the last tokens.",
        told="p = 1 lets all through that top-k has left. A sum of",
        edits=[
            (
                '''\
    """Return which tokens are kept: a head of one order, whose length is the smaller of two."""
''',
                "",
            ),
            (
                """\
    # A token is needed if the sum before it falls short. Nothing is divided: equal weights are all 1, and sum exactly.
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = (before_BV < p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)""",
                """\
    before_BV = torch.cat([torch.zeros_like(sums_BV[:, :1]), sums_BV[:, :-1]], dim=1)
    needed_BV = before_BV < p_B[:, None] * sums_BV[:, -1:]""",
            ),
            (
                '''\
    """Return the first token at which the running sum exceeds the aim."""
''',
                "",
            ),
            (
                """\
    # u is at most 1 - 2 ** -53: its product with the total is rounded to less than the total, and some sum exceeds it.
""",
                "",
            ),
            (
                '''\
    """Probabilities times a factor of the row: 1 for the likeliest token."""
''',
                "",
            ),
        ],
    ),
]
