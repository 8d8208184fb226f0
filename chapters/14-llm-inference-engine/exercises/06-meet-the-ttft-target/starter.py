"""What a step of the engine computes."""


def plan_step(
    now: int,
    decoding: list[int],
    prompts: list[tuple[int, int, int]],
    *,
    budget: int,
    fixed: int,
    per_token: int,
    gap: int,
    ttft: int,
    patience: int,
) -> list[tuple[int, int]]:
    """Return the parts of the next step: pairs (request, tokens).

    A step of n tokens takes fixed + per_token * n. All times are whole
    microseconds. Called for each step at which at least one prompt waits.

    Args:
        now: the time at which the step begins.
        decoding: requests whose prompt has been read; each can compute one
            token, which gives its next token at the end of the step.
        prompts: (request, arrival, left) in order of arrival, of requests
            whose prompt has not been read to its end: `left` of its tokens, at
            least 1, remain. The step that reads the last of them gives the
            first token.
        budget: tokens of a step at most.
        fixed, per_token: the price of a step.
        gap: target for the 99th percentile of the time between one token of a
            request and its next.
        ttft: target for the 99th percentile of the time from arrival to first
            token.
        patience: the longest time that any request may wait for its first
            token.

    Returns:
        A list that is not empty, of different requests: a decoding one with 1
        token, any other with 1 to `left`; in all `budget` tokens at most.
    """
    raise NotImplementedError
