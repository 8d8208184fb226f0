"""Takes prefill to be bound by arithmetic even where it has only a few tokens."""

from sysai.models.formulas import parameters


def _weights(config):
    count = parameters(config)
    return count.total if config.tie_embeddings else count.total - count.embedding


def prefill_seconds(config, tokens, bytes_per_weight, devices, bandwidth, peak):
    return 2 * _weights(config) * tokens / (devices * peak)


def decode_tokens_per_second(config, bytes_per_weight, devices, bandwidth, peak):
    return devices * bandwidth / (bytes_per_weight * _weights(config))
