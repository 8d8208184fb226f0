"""Fills the token budget and forgets that the gap allows less."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = [(request, 1) for request in decoding]
    room = budget - len(plan)
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 0.0008 * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
