"""The memory that block tables lead to: keys and values of all layers, in blocks that lie anywhere.

A block number means the same place in every layer, so that one table serves them all, and a block is copied or
swapped with all its layers at once:

    bytes = num_blocks * block_size * (layers * 2 * kv_heads * head_size * bytes_per_element)

It is allocated once. Which block is whose is `KVCacheManager`'s matter; positions that nobody has written hold
anything, and are never read. Source: Kwon et al., PagedAttention, arXiv 2309.06180, section 4.3.

Shapes: L layers, P blocks, O positions of a block, N key-value heads, K head size; G blocks that move.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sysai.models.config import ModelConfig
from sysai.serving.core.blocks import Copy
from sysai.serving.core.scheduler_output import SchedulerOutput


class PagedKVCache:
    """`num_blocks` blocks on the device and `num_cpu_blocks` in the CPU's memory, each of `block_size` positions.

    Raises:
        ValueError: a model with latent attention, which keeps no keys and values.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        block_size: int,
        num_cpu_blocks: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if config.mla is not None:
            raise ValueError(f"{config.name} has latent attention: pages hold keys and values of heads")
        self.block_size = block_size
        block = (block_size, config.n_kv_heads, config.head_dim)
        on_gpu = torch.device(device).type == "cuda"  # which copies from and to pinned memory only at full speed
        self.blocks_L2PONK = torch.empty(config.n_layers, 2, num_blocks, *block, device=device, dtype=dtype)
        self.cpu_L2PONK = torch.empty(config.n_layers, 2, num_cpu_blocks, *block, dtype=dtype, pin_memory=on_gpu)

    @property
    def bytes(self) -> int:
        """Bytes of all blocks on the device."""
        return self.blocks_L2PONK.nbytes

    def move(self, step: SchedulerOutput) -> None:
        """Move the blocks of a step before its pass, in the order that `SchedulerOutput` asks for."""
        _transfer(self.blocks_L2PONK, self.cpu_L2PONK, step.swap_out)
        _transfer(self.cpu_L2PONK, self.blocks_L2PONK, step.swap_in)
        for source, destination in step.copies:  # one by one: a later copy may overwrite what an earlier one reads
            self.blocks_L2PONK[:, :, destination] = self.blocks_L2PONK[:, :, source]


def _transfer(source_L2PONK: Tensor, destination_L2PONK: Tensor, copies: Sequence[Copy]) -> None:
    """Copy blocks from one memory to the other, all at once: none of them is both read and written."""
    if copies:
        from_G, to_G = torch.tensor(copies).T
        moved_L2GONK = source_L2PONK[:, :, from_G.to(source_L2PONK.device)]
        destination_L2PONK[:, :, to_G.to(destination_L2PONK.device)] = moved_L2GONK.to(destination_L2PONK.device)
