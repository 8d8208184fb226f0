"""Takes every choice for another expert, until there are no more."""


def expected_experts(n_experts, top_k, batch):
    return float(min(n_experts, top_k * batch))


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
