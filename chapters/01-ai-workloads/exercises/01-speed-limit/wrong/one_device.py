"""Lets every device read and compute everything, as if there were one."""

from sysai.models.formulas import parameters


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return max(2 * weights * tokens / peak, bytes_per_weight * weights / bandwidth)


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return 1 / prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
