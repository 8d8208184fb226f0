"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "forward_attention",
        "Sets the forward pass of attention, 4 L H K T, against 6N.",
        told="You set attention's forward pass against 6N, which holds",
        text="""\
from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 4 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / per_position
""",
    ),
    Fault(
        "key_value_heads",
        "Counts scores for key-value heads, though each query head has scores of its own.",
        told="You counted scores of key-value heads. Each of the n_heads",
        text="""\
from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 12 * config.n_layers * config.n_kv_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / per_position
""",
    ),
    Fault(
        "share_of_the_total",
        "Returns attention's part of 6ND, and not the factor by which the total exceeds it.",
        told="This is attention's term as a part of 6ND. Wanted is the",
        text="""\
from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).active / per_position
""",
    ),
    Fault(
        "total_parameters",
        "Takes N to be all parameters, also those of experts that a token does not visit.",
        told="You took all parameters. A token visits top_k experts a",
        text="""\
from sysai.models.formulas import parameters


def understatement(config, sequence, skip_masked):
    return 1 + sequence / equal_length(config, skip_masked)


def equal_length(config, skip_masked):
    per_position = 12 * config.n_layers * config.n_heads * config.head_dim * (0.5 if skip_masked else 1)
    return 6 * parameters(config).total / per_position
""",
    ),
]
