"""One rank's step of ZeRO-1: AdamW on one shard of a flat vector."""

from collections.abc import Callable

import torch
from torch import Tensor


def shard_bounds(size: int, ranks: int, rank: int) -> tuple[int, int]:
    """Return (first, last) of the elements that `rank` owns, without last.

    All shards have size / ranks elements, rounded up, so that the last ones may
    reach beyond `size`.

    Example: 10 elements on 4 ranks: (0, 3), (3, 6), (6, 9), (9, 12).
    """
    raise NotImplementedError


def zero1_step(
    weights: Tensor,
    gradient: Tensor,
    state: tuple[Tensor, Tensor] | None,
    step: int,
    rank: int,
    ranks: int,
    reduce_scatter: Callable[[Tensor], Tensor],
    all_gather: Callable[[Tensor], Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return (new weights [size], (m, v) of this rank's shard, [shard] each).

    Args:
        weights: all parameters, float32[size], the same on all ranks.
        gradient: of this rank's own part of the batch, float32[size].
        state: (m, v) that the step before returned; None in the first one.
        step: 1 in the first step, then 2, 3 ...
        rank: this rank, 0 to ranks - 1.
        ranks: how many ranks there are.
        reduce_scatter: this rank's gradient, padded to [ranks * shard], to this
            rank's shard of the sum over all ranks, [shard]. Call it once.
        all_gather: one shard, [shard], to the shards of all ranks,
            [ranks * shard]. Call it once.
        lr: eta of the statement.
        beta1: decay of m.
        beta2: decay of v.
        eps: added to the square root.
        weight_decay: lambda of the statement.
    """
    raise NotImplementedError
