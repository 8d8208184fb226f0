"""The inputs of a pass, made from a scheduled step: arrays that are the same for every layer and every runner.

The tokens of all sequences follow each other. A position's slot is where it lies, counted in positions over all blocks:

    slot = block_table[position // block_size] * block_size + position % block_size

The names are vLLM's. Shapes: T tokens of the step, B sequences, G blocks of the longest one, R rows that
have logits.
"""

from typing import NamedTuple

import numpy as np

from sysai.serving.core.scheduler_output import SchedulerOutput


class StepInputs(NamedTuple):
    """Arrays of int32, but for those that rows are taken by, which are int64.

    Attributes:
        tokens: [T], int64.
        positions: [T], of each token in its sequence.
        slot_mapping: [T], where its key and value go.
        block_tables: [B, G], the blocks that hold each sequence's positions so far; entries after them are 0 and
            never read.
        query_starts: [B + 1], where each sequence's tokens begin, and T.
        lengths: [B], positions of each sequence, its tokens of this step included.
        logits: [R], int64, the rows whose logits are asked for: the last of each sequence that samples, all of one
            whose prompt is scored.
    """

    tokens: np.ndarray
    positions: np.ndarray
    slot_mapping: np.ndarray
    block_tables: np.ndarray
    query_starts: np.ndarray
    lengths: np.ndarray
    logits: np.ndarray

    @classmethod
    def of(cls, step: SchedulerOutput, block_size: int) -> "StepInputs":
        """Make the inputs of a step in which at least one sequence is scheduled."""
        seqs = step.scheduled
        counts_B = np.array([len(seq.token_ids) for seq in seqs], np.int32)
        starts_B = np.array([seq.start for seq in seqs], np.int32)
        lengths_B = starts_B + counts_B
        query_starts_B1 = np.concatenate(([0], counts_B.cumsum())).astype(np.int32)
        used_B = -(-lengths_B // block_size)
        tables_BG = np.zeros((len(seqs), used_B.max()), np.int32)
        for row, seq, used in zip(tables_BG, seqs, used_B, strict=True):
            row[:used] = seq.block_table[:used]
        seq_of_T = np.repeat(np.arange(len(seqs)), counts_B)
        positions_T = np.arange(len(seq_of_T), dtype=np.int32) + (starts_B - query_starts_B1[:-1])[seq_of_T]
        return cls(
            tokens=np.array([token for seq in seqs for token in seq.token_ids], np.int64),
            positions=positions_T,
            slot_mapping=tables_BG[seq_of_T, positions_T // block_size] * block_size + positions_T % block_size,
            block_tables=tables_BG,
            query_starts=query_starts_B1,
            lengths=lengths_B,
            logits=np.concatenate(
                [np.arange(end - seq.num_logits, end) for end, seq in zip(query_starts_B1[1:], seqs, strict=True)]
            ).astype(np.int64),
        )
