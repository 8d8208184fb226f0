"""Policies: which sequences run first, which are preempted first, and when a batch takes in new ones.

A policy is an order of all sequences, running and waiting, and a rule of admission. The scheduler gives memory and
budget in that order, preempts from its end, and never lets a sequence pass one that waits before it. That is enough
against starvation wherever only finitely many can come to stand before another:

    first come, first served        those that arrived before
    shortest first, with aging      those, too, that arrive at most (work / aging) seconds after

Orders are fixed at arrival. Aging needs no clock for that: work - aging * (now - arrival) sorts as
work + aging * arrival does, because `aging * now` is the same for all.

Production adds priorities, fairness between tenants (Sheng et al., VTC, arXiv 2401.00588) and predicted lengths.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sysai.serving.core.sequence import Sequence


@dataclass(frozen=True)
class Policy:
    """An order and a rule of admission.

    Args:
        order: a number for each sequence; the smallest comes first, equal ones as they were added.
        admits: whether others may join, given the number running; it must say yes to 0, or nothing would ever run.
    """

    name: str
    order: Callable[[Sequence], float]
    admits: Callable[[int], bool]


def always(running: int) -> bool:
    """Continuous batching (Yu et al., Orca, OSDI 2022): a sequence that fits joins at any step."""
    return True


def when_empty(running: int) -> bool:
    """Static batching: a batch is formed, runs until its longest sequence is done, and only then comes the next."""
    return running == 0


def arrival(sequence: Sequence) -> float:
    """The order of arrival, in seconds."""
    return sequence.arrival_time


FIRST_COME_FIRST_SERVED = Policy("first come, first served", arrival, always)

# A batch is what fits into one step: the token budget should hold as many prompts as the batch has rows. Libraries
# that batch so also compute the padding of shorter rows; here a row that is done leaves its place empty, no more.
STATIC_BATCHING = Policy("static batching", arrival, when_empty)


def shortest_first(aging: float) -> Policy:
    """The least work first, in tokens (prompt and the most that may be generated); waiting a second counts `aging`.

    Raises:
        ValueError: aging that is not positive, under which a long request could wait for ever.
    """
    if not 0 < aging < math.inf:
        raise ValueError(f"aging {aging} tokens a second must be positive, or long requests may wait for ever")

    def order(sequence: Sequence) -> float:
        return sequence.num_prompt_tokens + sequence.sampling_params.max_tokens + aging * sequence.arrival_time

    return Policy(f"shortest first, aging {aging:g} tokens/s", order, always)
