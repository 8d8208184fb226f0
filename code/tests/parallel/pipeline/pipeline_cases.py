"""Random schedules of every kind."""

from hypothesis import strategies as st
from sysai.parallel.pipeline.schedules import GENERATORS, PipelineSchedule, interleaved_1f1b


@st.composite
def schedules(draw, max_devices: int = 6, max_microbatches: int = 14) -> PipelineSchedule:
    name, p = draw(st.sampled_from(sorted(GENERATORS))), draw(st.integers(1, max_devices))
    if name == "interleaved_1f1b":
        rounds = draw(st.integers(1, max(1, max_microbatches // p)))
        return interleaved_1f1b(p, rounds * p, draw(st.integers(2, 3)))
    return GENERATORS[name](p, draw(st.integers(1, max_microbatches)))
