"""Random limits of a scheduler, and random work for it: chunks, full batches, preemption and shared prefixes."""

from dataclasses import replace

from hypothesis import strategies as st
from paper_runner import make_sequence
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.sequence import Sequence

LONGEST = 34  # positions of a sequence: system prompt, prompt and output


@st.composite
def configs(draw, base: SchedulerConfig, block_sizes: tuple[int, ...], most_positions: int, num_cpu_blocks: list[int]):
    """Limits at most those of `base`; its memory holds the longest sequence, and `most_positions` at most."""
    block_size = draw(st.sampled_from(block_sizes))
    max_num_seqs = draw(st.integers(1, base.max_num_seqs))
    return replace(
        base,
        num_blocks=draw(st.integers(-(-LONGEST // block_size), -(-most_positions // block_size))),
        block_size=block_size,
        max_num_batched_tokens=draw(st.integers(max_num_seqs, 30)),
        max_num_seqs=max_num_seqs,
        num_cpu_blocks=draw(st.sampled_from(num_cpu_blocks)),
        watermark=0.0,
        prefix_caching=draw(st.booleans()),
        max_model_len=LONGEST,
    )


@st.composite
def works(draw, most: int) -> tuple[list[Sequence], list[int]]:
    """Sequences, some of which begin with the same system prompt, and the steps in which they come."""
    system = tuple(draw(st.lists(st.integers(0, 255), max_size=10)))
    tails = st.lists(st.integers(0, 255), min_size=1, max_size=12).map(tuple)
    some = st.lists(st.tuples(st.booleans(), tails, st.integers(1, 10), st.integers(0, 6)), min_size=1, max_size=most)
    drawn = draw(some)
    sequences = [
        make_sequence(str(i), system * shared + tail, count) for i, (shared, tail, count, _) in enumerate(drawn)
    ]
    return sequences, [at for *_, at in drawn]
