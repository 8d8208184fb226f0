"""Random limits of a scheduler, and random work for it: chunks, full batches, preemption and shared prefixes."""

from dataclasses import replace

from hypothesis import strategies as st
from paper_runner import make_request
from sysai.serving.core.request import Request
from sysai.serving.core.scheduler_config import SchedulerConfig

LONGEST = 34  # positions of a request: system prompt, prompt and output


@st.composite
def configs(draw, base: SchedulerConfig, block_sizes: tuple[int, ...], most_positions: int, host_blocks: list[int]):
    """Limits at most those of `base`; its memory holds the longest request, and `most_positions` at most."""
    block_size = draw(st.sampled_from(block_sizes))
    max_running = draw(st.integers(1, base.max_running))
    return replace(
        base,
        num_blocks=draw(st.integers(-(-LONGEST // block_size), -(-most_positions // block_size))),
        block_size=block_size,
        token_budget=draw(st.integers(max_running, 30)),
        max_running=max_running,
        host_blocks=draw(st.sampled_from(host_blocks)),
        watermark=0.0,
        prefix_caching=draw(st.booleans()),
        max_model_len=LONGEST,
    )


@st.composite
def works(draw, most: int) -> tuple[list[Request], list[int]]:
    """Requests, some of which begin with the same system prompt, and the steps in which they come."""
    system = tuple(draw(st.lists(st.integers(0, 255), max_size=10)))
    tails = st.lists(st.integers(0, 255), min_size=1, max_size=12).map(tuple)
    some = st.lists(st.tuples(st.booleans(), tails, st.integers(1, 10), st.integers(0, 6)), min_size=1, max_size=most)
    drawn = draw(some)
    requests = [make_request(str(i), system * shared + tail, count) for i, (shared, tail, count, _) in enumerate(drawn)]
    return requests, [at for *_, at in drawn]
