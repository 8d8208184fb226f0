"""The key-value cache: what attention needs of the past, kept instead of computed again.

A token's keys and values never change once computed, because a token attends only to itself and what stands
before it. Keeping them turns the work of one more token from the whole sequence's into one position's:

    bytes = layers * batch * positions * (2 * kv_heads * head_size) * bytes_per_element

With latent attention a position keeps kv_rank + rope_dim elements instead. The memory is allocated once, for
`max_length` positions, and never moves. Production engines allocate it in blocks, shared between requests
(Kwon et al., PagedAttention, arXiv 2309.06180), and quantize it; this cache holds sequences of equal length.

Shapes: B batch, N key-value heads, T new positions, S positions so far, K head size.
"""

import torch
from torch import Tensor

from sysai.models.config import ModelConfig


class KVCache:
    """Keys and values of all layers for `batch_size` sequences of up to `max_length` positions."""

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        max_length: int,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if batch_size < 1 or not 1 <= max_length <= config.max_positions:
            raise ValueError(
                f"batch_size {batch_size} must be positive and max_length {max_length} in "
                f"1..{config.max_positions}, the positions of {config.name}"
            )
        self.batch_size, self.max_length, self.length = batch_size, max_length, 0
        self._layers = [
            [
                torch.empty(batch_size, heads, max_length, width, device=device, dtype=dtype)
                for heads, width in config.cache_widths
            ]
            for _ in range(config.n_layers)
        ]

    @property
    def bytes(self) -> int:
        """Bytes allocated, for `max_length` positions."""
        return sum(tensor.nbytes for tensors in self._layers for tensor in tensors)

    @property
    def bytes_used(self) -> int:
        """Bytes that hold positions already seen."""
        return self.bytes // self.max_length * self.length

    def update(self, layer: int, *new_BNTK: Tensor) -> list[Tensor]:
        """Write a layer's new positions after those it has; return all of them, [B, N, S, K] views."""
        end = self.length + new_BNTK[0].shape[2]
        views = []
        for kept_BNSK, new in zip(self._layers[layer], new_BNTK, strict=True):
            kept_BNSK[:, :, self.length : end] = new
            views.append(kept_BNSK[:, :, :end])
        return views

    def advance(self, positions: int) -> None:
        """Count `positions` as seen, once every layer has been updated with them."""
        self.length += positions
        self.check_invariants()

    def check_fits(self, batch_size: int, positions: int) -> None:
        """Raise ValueError unless `positions` more of `batch_size` sequences have a place."""
        if batch_size != self.batch_size:
            raise ValueError(
                f"batch of {batch_size} sequences, but the cache was made for {self.batch_size}: make one for it"
            )
        if self.length + positions > self.max_length:
            raise ValueError(
                f"{positions} new positions after {self.length} exceed the cache's {self.max_length}: "
                f"shorten the prompt or make the cache with a larger max_length"
            )

    def check_invariants(self) -> None:
        """The positions seen never exceed those allocated."""
        assert 0 <= self.length <= self.max_length, (self.length, self.max_length)
