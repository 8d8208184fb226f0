"""Takes the prompt with the least left, and lets a long one wait as long as shorter ones come."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = min(budget, (gap - fixed) // per_token) - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2]):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
