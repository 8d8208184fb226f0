"""Leaves the embedding table out even where it serves as the head."""

from sysai.models.formulas import parameters


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    count = parameters(config)
    weights = count.total - count.embedding
    return max(2 * weights * tokens / (devices * peak), bytes_per_weight * weights / (devices * bandwidth))


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return 1 / prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
