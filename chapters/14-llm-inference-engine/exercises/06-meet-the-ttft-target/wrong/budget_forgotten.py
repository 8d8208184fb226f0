"""Keeps the gap, and forgets that the budget may allow less."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    full = (gap - fixed) // per_token
    room = full - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 6 * full / patience * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
