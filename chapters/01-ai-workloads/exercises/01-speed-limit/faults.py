"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "embedding_counted",
        "Counts an embedding table that is only looked up among the weights.",
        told="You counted the embedding table. It is only looked up here",
        text="""\
from sysai.models.formulas import parameters


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    weights = parameters(config).total
    return max(2 * weights * tokens / (devices * peak), bytes_per_weight * weights / (devices * bandwidth))


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return 1 / prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
""",
    ),
    Fault(
        "one_device",
        "Lets every device read and compute everything, as if there were one.",
        told="This is the limit of one device. All devices read and",
        text="""\
from sysai.models.formulas import parameters


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return max(2 * weights * tokens / peak, bytes_per_weight * weights / bandwidth)


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return 1 / prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
""",
    ),
    Fault(
        "prefill_by_arithmetic_alone",
        "Takes prefill to be bound by arithmetic even where it has only a few tokens.",
        told="You took the shorter of the two times here. A call is no",
        text="""\
from sysai.models.formulas import parameters


def _weights(config):
    count = parameters(config)
    return count.total if config.tie_embeddings else count.total - count.embedding


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    return 2 * _weights(config) * tokens / (devices * peak)


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return devices * bandwidth / (bytes_per_weight * _weights(config))
""",
    ),
    Fault(
        "tied_table_left_out",
        "Leaves the embedding table out even where it serves as the head.",
        told="You left the embedding table out. This model's weights are",
        text="""\
from sysai.models.formulas import parameters


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    count = parameters(config)
    weights = count.total - count.embedding
    return max(2 * weights * tokens / (devices * peak), bytes_per_weight * weights / (devices * bandwidth))


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return 1 / prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
""",
    ),
]
