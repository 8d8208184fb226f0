"""What a step of the engine computes."""


def plan_step(
    now: int,
    decoding: list[int],
    prompts: list[tuple[int, int, int]],
    *,
    budget: int,
    fixed: int,
    per_token: int,
    gap: int,
    ttft: int,
    patience: int,
) -> list[tuple[int, int]]:
    """Return every decode, and prompts to fill the step: the shortest first, and less so the longer they wait."""
    full = min(budget, (gap - fixed) // per_token)  # a larger step would keep the decodes waiting for too long
    aging = 6 * full / patience  # tokens a microsecond: who has waited to the limit passes for six full steps shorter
    plan = [(request, 1) for request in decoding[:full]]
    room = full - len(plan)
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - aging * (now - prompt[1])):
        if not room:
            break
        plan.append((request, min(left, room)))
        room -= min(left, room)
    return plan
