"""The arrays of a step, by hand."""

import numpy as np
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from sysai.serving.runners.step_inputs import StepInputs


def test_a_chunk_a_decode_and_a_prompt():
    parts = (
        ScheduledSequence(
            "chunk", 3, (10, 11, 12), (7, 5, 9), samples=False
        ),  # at positions 3 to 5, in two of its three blocks
        ScheduledSequence("decode", 4, (20,), (2, 0, 8), samples=True),
        ScheduledSequence("prompt", 0, (30, 31), (4,), samples=True),
    )
    inputs = StepInputs.of(SchedulerOutput(parts), block_size=4)
    assert inputs.tokens.tolist() == [10, 11, 12, 20, 30, 31]
    assert inputs.positions.tolist() == [3, 4, 5, 4, 0, 1]
    assert inputs.slot_mapping.tolist() == [7 * 4 + 3, 5 * 4 + 0, 5 * 4 + 1, 0 * 4 + 0, 4 * 4 + 0, 4 * 4 + 1]
    assert inputs.block_tables.tolist() == [[7, 5], [2, 0], [4, 0]]
    assert inputs.query_starts.tolist() == [0, 3, 4, 6]
    assert inputs.lengths.tolist() == [6, 5, 2]
    assert inputs.logits.tolist() == [3, 5]
    rows_are_taken_by = (inputs.tokens, inputs.logits)
    assert all((x.dtype == np.int64) == any(x is y for y in rows_are_taken_by) for x in inputs)
    assert all(x.dtype in (np.int32, np.int64) and x.flags.c_contiguous for x in inputs)
