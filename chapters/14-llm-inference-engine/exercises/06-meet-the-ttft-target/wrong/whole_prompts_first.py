"""Reads prompts first, as whole as the budget lets it, while the others' decoding stalls."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = []
    for request, _, left in prompts:
        if budget:
            plan.append((request, min(left, budget)))
            budget -= min(left, budget)
    return plan
