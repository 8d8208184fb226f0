"""Random steps over a paged cache: queries, blocks that lie anywhere, and NaN wherever nobody has written."""

import torch
from hypothesis import strategies as st
from torch import Tensor

NOWHERE = 1 << 30
"""What entries of a block table hold behind a sequence's last block: reading there would end the process."""


def random_step(
    queries: list[int],
    past: list[int],
    heads: int = 4,
    kv_heads: int = 2,
    head_size: int = 32,
    block_size: int = 8,
    dtype: torch.dtype = torch.float32,
    index: torch.dtype = torch.int32,
    q_scale: float = 1.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The arguments of `paged_attention`: sequences that have `past` positions and get `queries` more."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [new + old for new, old in zip(queries, past, strict=True)]
    used = [-(-length // block_size) for length in lengths]
    places = torch.randperm(sum(used) + 2, generator=generator)
    blocks_2PONK = torch.full((2, len(places), block_size, kv_heads, head_size), torch.nan, dtype=dtype)
    tables_BG = torch.full((len(queries), max(used, default=0) + 1), NOWHERE, dtype=index)
    for sequence, (count, length) in enumerate(zip(used, lengths, strict=True)):
        mine = places[sum(used[:sequence]) :][:count]
        tables_BG[sequence, :count] = mine
        for at in range(2):
            written = torch.randn(length, kv_heads, head_size, generator=generator)
            whole = torch.full((count * block_size, kv_heads, head_size), torch.nan)
            whole[:length] = written
            blocks_2PONK[at, mine] = whole.view(count, block_size, kv_heads, head_size).to(dtype)
    q_THK = (torch.randn(sum(queries), heads, head_size, generator=generator) * q_scale).to(dtype)
    starts_B1 = torch.tensor([0, *queries]).cumsum(0).to(index)
    return q_THK, blocks_2PONK, tables_BG, starts_B1, torch.tensor(lengths, dtype=index)


@st.composite
def random_steps(draw) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Steps of up to four sequences: decoding, chunks, whole prompts, and some that have no token in this step."""
    kv_heads, group = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    parts = draw(st.lists(st.tuples(st.sampled_from([0, 1, 1, 2, 7, 20]), st.integers(0, 50)), min_size=1, max_size=4))
    return random_step(
        queries=[new for new, _ in parts],
        past=[old for _, old in parts],
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_size=draw(st.sampled_from([4, 32, 48, 64, 80])),
        block_size=draw(st.sampled_from([1, 3, 8, 16, 32])),
        dtype=draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16])),
        index=draw(st.sampled_from([torch.int32, torch.int64])),
        seed=draw(st.integers(0, 1000)),
    )
