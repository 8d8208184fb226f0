"""The limits that a scheduler keeps: memory, work of a step, sequences of a step, positions of a sequence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SchedulerConfig:
    """Limits under which any single sequence can run to its end, which is checked when the object is made.

    Args:
        num_blocks: blocks of keys and values on the device.
        block_size: positions of a block.
        max_num_batched_tokens: tokens that a step computes at most (the token budget); it bounds how long a step takes,
            and so each token's time.
        max_num_seqs: sequences of a step at most.
        num_cpu_blocks: blocks that preempted sequences may be swapped out to; 0 for recomputation alone.
        watermark: fraction of the blocks that admission leaves free, for those who run to grow into.
        prefix_caching: keep computed blocks for later requests that begin alike.
        max_model_len: positions of prompt and output at most; None for as many as all blocks have.
        eos_token_id: the token that ends a sequence, or None.

    Raises:
        ValueError: a limit under which a single sequence could not run.
    """

    num_blocks: int
    block_size: int = 16
    max_num_batched_tokens: int = 512
    max_num_seqs: int = 64
    num_cpu_blocks: int = 0
    watermark: float = 0.01
    prefix_caching: bool = True
    max_model_len: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        if min(self.num_blocks, self.block_size, self.max_num_seqs) < 1 or self.num_cpu_blocks < 0:
            message = "blocks, their size and max_num_seqs must be positive, num_cpu_blocks not negative"
            raise ValueError(f"{message}: {self}")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens {self.max_num_batched_tokens} is less than max_num_seqs {self.max_num_seqs}: "
                f"every running sequence needs a token a step"
            )
        if not 0 <= self.watermark < 1:
            raise ValueError(f"watermark {self.watermark} is a fraction of the blocks, from 0 to below 1")
        positions = self.num_blocks * self.block_size
        if not 2 <= self.most_positions <= positions:
            raise ValueError(
                f"max_model_len {self.most_positions} must be from 2 to the {positions} positions of all blocks: "
                f"a sequence that has them all must be able to finish"
            )

    @property
    def most_positions(self) -> int:
        """Positions of a sequence at most: `max_model_len`, or what all blocks have."""
        return self.num_blocks * self.block_size if self.max_model_len is None else self.max_model_len
