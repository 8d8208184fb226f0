"""Attention of a step over paged memory, two ways: by torch anywhere, and by Triton kernels on a GPU.

For every layer, new keys and values go to their slots; then queries see all that their sequence's block table leads to,
up to their own position.

    torch     a sequence's blocks are copied into one piece, then multiplied as any other: 2 reads and 1 write of each
              key and value, and a few launches a sequence
    Triton    one launch for all sequences, which reads blocks where they lie: 1 read

On the CPU `cpu_attention` takes the place of both. Production: vLLM chooses among a dozen backends by device and shape.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sysai.kernels.paged_attention import paged_attention, paged_attention_reference
from sysai.kernels.reshape_and_cache import reshape_and_cache, reshape_and_cache_reference


class AttentionBackend(NamedTuple):
    """`write` as `reshape_and_cache`, `attend` as `paged_attention` of `sysai.kernels`."""

    write: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    attend: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


TORCH = AttentionBackend(reshape_and_cache_reference, paged_attention_reference)
TRITON = AttentionBackend(reshape_and_cache, paged_attention)
"""Compiled on a GPU; in Triton's interpreter, slowly, on a CPU."""
