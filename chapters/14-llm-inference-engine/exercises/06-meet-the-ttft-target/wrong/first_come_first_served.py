"""Reads prompts in the order of arrival: everybody waits behind a long one."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = min(budget, (gap - fixed) // per_token) - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in prompts:
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
