"""Lets a token draw the same expert twice: (1 - 1/E)^(k B) instead of (1 - k/E)^B."""


def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - 1 / n_experts) ** (top_k * batch))


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
