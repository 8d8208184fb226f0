"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FULL = "min(budget, (gap - fixed) // per_token)"
ORDER = "sorted(prompts, key=lambda prompt: prompt[2] - aging * (now - prompt[1]))"
AGING = "aging = 6 * full / patience"

FAULTS = [
    Fault(
        "decodes_not_counted",
        "Gives the prompts all the tokens that the gap allows, and adds the decodes to them.",
        told="Your steps have up to 456 tokens, decodes included;",
        edits=[("room = full - len(plan)", "room = full")],
    ),
    Fault(
        "fills_the_budget",
        "Fills the token budget and forgets that the gap allows less.",
        told="Your steps have up to 2048 tokens, decodes included;",
        edits=[(FULL, "budget")],
    ),
    Fault(
        "whole_prompts_first",
        "Reads prompts first, as whole as the budget lets it, while the others' decoding stalls.",
        told="271 of 1098 steps gave some decoding request no token.",
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
    Fault(
        "decodes_then_prompts",
        "Reads prompts only when nothing decodes, so that no decode is ever late.",
        told="2353 of 2418 steps left prompts waiting and more than half",
        edits=[("room = full - len(plan)", "room = 0 if decoding else full")],
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
        "first_come_first_served",
        "Reads prompts in the order of arrival: everybody waits behind a long one.",
        told="The steps are full, so it is the order: behind a prompt",
        edits=[(ORDER, "prompts")],
    ),
    Fault(
        "shortest_first",
        "Takes the prompt with the least left, and lets a long one wait as long as shorter ones come.",
        told="Somebody starves. As long as shorter prompts keep coming,",
        edits=[(AGING, "aging = 0")],
    ),
    Fault(
        "ages_too_slowly",
        "Lets waiting count so little that a long prompt waits beyond the patience.",
        told="Somebody starves. As long as shorter prompts keep coming,",
        edits=[(AGING, "aging = full / patience")],
    ),
    Fault(
        "deadline_all_at_once",
        "Lets whoever has waited for the target of the first token go before all others.",
        told="The steps are full, so it is the order: behind a prompt",
        edits=[(ORDER, "sorted(prompts, key=lambda prompt: (now - prompt[1] < ttft, prompt[2]))")],
    ),
    Fault(
        "budget_forgotten",
        "Keeps the gap, and forgets that the budget may allow less.",
        told="The budget holds for all tokens of a step, those of",
        edits=[(FULL, "(gap - fixed) // per_token")],
    ),
    Fault(
        "budget_for_prompts",
        "Takes the budget for that of the prompts alone.",
        told="The budget holds for all tokens of a step, those of",
        edits=[(FULL, "min(budget + len(decoding), (gap - fixed) // per_token)")],
    ),
    Fault(
        "requests_alone",
        "Returns which requests compute, without how many tokens.",
        edits=[("    return plan\n", "    return [request for request, _ in plan]\n")],
    ),
    Fault(
        "waits_for_more",
        "Plans nothing until the prompts fill a step.",
        edits=[("    return plan\n", "    return [] if room else plan\n")],
    ),
    Fault(
        "more_than_left",
        "Gives the last prompt all the room there is.",
        edits=[("plan.append((request, min(left, room)))", "plan.append((request, room))")],
    ),
]
