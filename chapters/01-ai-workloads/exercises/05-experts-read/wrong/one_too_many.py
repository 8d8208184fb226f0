"""Counts on while the share is reached, and so ends one batch late."""

import math


def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    return math.floor(math.log(1 - share) / math.log(1 - top_k / n_experts)) + 2
