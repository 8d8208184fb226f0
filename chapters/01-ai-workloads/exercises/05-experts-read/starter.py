"""How many experts of a mixture a batch reads."""


def expected_experts(n_experts: int, top_k: int, batch: int) -> float:
    """Return the expected number of experts that `batch` tokens visit.

    Args:
        n_experts: experts of the layer.
        top_k: different experts that each token chooses, 1 <= top_k <=
            n_experts, uniformly at random.
        batch: tokens, which choose independently.

    Example: 256 experts, top_k 8, batch 32: 163.3.
    """
    raise NotImplementedError


def uses_per_expert(n_experts: int, top_k: int, batch: int) -> float:
    """Return by how many tokens an expert that is read is used, on average.

    That is the choices of all tokens divided by the expected experts.

    Example: 256 experts, top_k 8, batch 32: 1.568 tokens an expert.
    """
    raise NotImplementedError


def batch_for_share(n_experts: int, top_k: int, share: float) -> int:
    """Return the smallest batch expected to read at least `share` of the experts.

    Args:
        share: part of the experts, 0 < share < 1.

    Example: 256 experts, top_k 8, share 0.9: 73.
    """
    raise NotImplementedError
