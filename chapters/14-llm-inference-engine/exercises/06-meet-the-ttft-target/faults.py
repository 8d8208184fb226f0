"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "budget_forgotten",
        "Keeps the gap, and forgets that the budget may allow less.",
        told="The gap may allow more than the budget does: both hold.",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    full = (gap - fixed) // per_token
    room = full - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 6 * full / patience * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
""",
    ),
    Fault(
        "decodes_not_counted",
        "Gives the prompts all the tokens that the gap allows, and adds the decodes to them.",
        told="A step of 420 tokens takes just the gap allowed; yours have",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = (gap - fixed) // per_token
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 0.0008 * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
""",
    ),
    Fault(
        "decodes_then_prompts",
        "Reads prompts only when nothing decodes, so that no decode is ever late.",
        told="2198 of 2289 steps only decoded while prompts waited. As",
        text="""\
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
""",
    ),
    Fault(
        "fills_the_budget",
        "Fills the token budget and forgets that the gap allows less.",
        told="Your steps have up to 2048 tokens. The budget allows that,",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = [(request, 1) for request in decoding]
    room = budget - len(plan)
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2] - 0.0008 * (now - prompt[1])):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
""",
    ),
    Fault(
        "first_come_first_served",
        "Reads prompts in the order of arrival: everybody waits behind a long one.",
        told="This is what first come, first served gives: behind a",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = min(budget, (gap - fixed) // per_token) - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in prompts:
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
""",
    ),
    Fault(
        "shortest_first",
        "Takes the prompt with the least left, and lets a long one wait as long as shorter ones come.",
        told="This is what shortest first gives: as long as shorter",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    room = min(budget, (gap - fixed) // per_token) - len(decoding)
    plan = [(request, 1) for request in decoding]
    for request, _, left in sorted(prompts, key=lambda prompt: prompt[2]):
        if room:
            plan.append((request, min(left, room)))
            room -= min(left, room)
    return plan
""",
    ),
    Fault(
        "tiny_chunks",
        "Reads prompts in turn in chunks of 16 tokens, a few at a time, to be gentle with the decodes.",
        told="1513 of 1517 steps left prompts waiting and more than half",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = [(request, 1) for request in decoding]
    turn = now // fixed % len(prompts)
    for request, _, left in (prompts[turn:] + prompts[:turn])[:4]:
        plan.append((request, min(left, 16)))
    return plan
""",
    ),
    Fault(
        "whole_prompts_first",
        "Reads prompts first, as whole as the budget lets it, while the others' decoding stalls.",
        told="271 steps gave some decoding request no token: while",
        text="""\
def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = []
    for request, _, left in prompts:
        if budget:
            plan.append((request, min(left, budget)))
            budget -= min(left, budget)
    return plan
""",
    ),
]
