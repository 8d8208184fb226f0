"""How many experts of a mixture a batch reads."""


def expected_experts(n_experts: int, top_k: int, batch: int) -> float:
    """Return the expected experts: all tokens miss one with (1 - k/E)^B."""
    return n_experts * (1 - (1 - top_k / n_experts) ** batch)


def uses_per_expert(n_experts: int, top_k: int, batch: int) -> float:
    """Return by how many tokens an expert that is read is used, on average."""
    return batch * top_k / expected_experts(n_experts, top_k, batch)


def batch_for_share(n_experts: int, top_k: int, share: float) -> int:
    """Return the smallest batch that is expected to read `share` of the experts."""
    batch = 1
    while expected_experts(n_experts, top_k, batch) < share * n_experts:
        batch += 1
    return batch
