"""Gives the prompts all the tokens that the gap allows, and adds the decodes to them."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = (gap - fixed) // per_token
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 0.0008 * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
