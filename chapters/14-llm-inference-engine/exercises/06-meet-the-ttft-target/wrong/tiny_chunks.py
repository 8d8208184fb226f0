"""Reads prompts in turn in chunks of 16 tokens, a few at a time, to be gentle with the decodes."""


def plan_step(now, decoding, prompts, *, budget, fixed, per_token, gap, ttft, patience):
    plan = [(request, 1) for request in decoding]
    turn = now // fixed % len(prompts)
    for request, _, left in (prompts[turn:] + prompts[:turn])[:4]:
        plan.append((request, min(left, 16)))
    return plan
