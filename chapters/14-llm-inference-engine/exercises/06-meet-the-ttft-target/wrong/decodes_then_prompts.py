"""Reads prompts only when nothing decodes, so that no decode is ever late."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    if decoding:
        return [(request, 1) for request in decoding]
    room = min(budget, (gap - fixed) // per_token)
    plan = []
    for request, _, left in prompts:
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
