"""What a pass needs of a step, as arrays: the same for every layer, and whoever executes it.

The parts' tokens stand behind each other. A position's slot is where it lies, counted in positions over all blocks:

    slot = block_table[position // block_size] * block_size + position % block_size

The names are vLLM's. Shapes: T tokens of the step, B parts, G blocks of the longest one, R parts that sample.
"""

from typing import NamedTuple

import numpy as np

from sysai.serving.core.scheduler_output import Step


class StepInputs(NamedTuple):
    """Arrays of int32, but for those that rows are taken by, which are int64.

    Attributes:
        tokens: [T], int64.
        positions: [T], of each token in its sequence.
        slot_mapping: [T], where its key and value go.
        block_tables: [B, G], the blocks that hold each part's positions so far; what lies behind them is 0 and never
            read.
        query_starts: [B + 1], where each part's tokens begin, and T.
        lengths: [B], positions of each part's sequence, its tokens of this step included.
        last: [R], int64, the row of the last token of each part that samples.
    """

    tokens: np.ndarray
    positions: np.ndarray
    slot_mapping: np.ndarray
    block_tables: np.ndarray
    query_starts: np.ndarray
    lengths: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, step: Step, block_size: int) -> "StepInputs":
        """Those of a step with one part at the least."""
        parts = step.parts
        counts_B = np.array([len(part.token_ids) for part in parts], np.int32)
        starts_B = np.array([part.start for part in parts], np.int32)
        lengths_B = starts_B + counts_B
        query_starts_B1 = np.concatenate(([0], counts_B.cumsum())).astype(np.int32)
        used_B = -(-lengths_B // block_size)
        tables_BG = np.zeros((len(parts), used_B.max()), np.int32)
        for row, part, used in zip(tables_BG, parts, used_B, strict=True):
            row[:used] = part.block_table[:used]
        owners_T = np.repeat(np.arange(len(parts)), counts_B)
        positions_T = np.arange(len(owners_T), dtype=np.int32) + (starts_B - query_starts_B1[:-1])[owners_T]
        return cls(
            tokens=np.array([token for part in parts for token in part.token_ids], np.int64),
            positions=positions_T,
            slot_mapping=tables_BG[owners_T, positions_T // block_size] * block_size + positions_T % block_size,
            block_tables=tables_BG,
            query_starts=query_starts_B1,
            lengths=lengths_B,
            last=query_starts_B1[1:][[part.samples for part in parts]].astype(np.int64) - 1,
        )
