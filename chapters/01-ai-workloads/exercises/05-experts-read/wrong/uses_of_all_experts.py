"""Divides the choices by all experts, also by those that nobody chose."""


def expected_experts(n_experts, top_k, batch):
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def uses_per_expert(n_experts, top_k, batch):
    return batch * top_k / n_experts


def batch_for_share(n_experts, top_k, share):
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
