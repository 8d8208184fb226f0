"""What chapter 14's serving benchmarks are given: the Azure trace of 2023 in the size of SmolLM2, and system prompts.

Lengths are the conversation trace's, divided by 8, so that its longest request fits into 2,048 positions. A request
that shares begins with a system prompt, and then has its own part, as long as anyone's.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from sysai.serving.simulation.workload import AZURE_CONVERSATION, Sharing, WorkItem, make_workload

SCALE = 1 / 8
LONGEST_PROMPT = 1024  # of the part that is a request's own


def conversations(
    count: int, rate: float, seed: int, sharing: Sharing | None = None, cv: float = 1.0
) -> list[WorkItem]:
    """Requests of the trace's lengths; `sharing` says how many get a system prompt before their own."""
    prompt = AZURE_CONVERSATION.prompt.scaled(SCALE, LONGEST_PROMPT)
    items = make_workload(count, rate, prompt, AZURE_CONVERSATION.output.scaled(SCALE), seed)
    return items if sharing is None else with_system_prompts(items, sharing, seed)


def with_system_prompts(items: Sequence[WorkItem], sharing: Sharing, seed: int) -> list[WorkItem]:
    """Put one of the system prompts before a fraction of the prompts."""
    generator = random.Random(f"system prompts, seed {seed}")
    systems = [tuple(generator.randrange(49_152) for _ in range(sharing.length)) for _ in range(sharing.prompts)]
    shared = set(generator.sample(range(len(items)), round(sharing.fraction * len(items))))
    return [
        replace(item, prompt_token_ids=generator.choice(systems) + item.prompt_token_ids) if i in shared else item
        for i, item in enumerate(items)
    ]


def at_once(items: Sequence[WorkItem]) -> list[WorkItem]:
    """The same requests, all there from the start: a load that saturates any server."""
    return [replace(item, arrival=0.0) for item in items]
