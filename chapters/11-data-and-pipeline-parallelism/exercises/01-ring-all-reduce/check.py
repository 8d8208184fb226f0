"""Gates on the parts that each element holds in the end, on steps, longest message and bytes; any ranks, any size."""

from collections import Counter

from sysai.core.language import Text
from sysai.exercises.trial import Trial

STEPS = Text("Steps", "步数")
LONGEST = Text("elements in one message", "单条消息的元素数")
SENT = Text("bytes that this rank sends", "这个进程发送的字节数")
BYTES = Text("bytes", "字节")

Plan = list[tuple[tuple[int, int], tuple[int, int], bool]]


def check(trial: Trial) -> None:
    _check(trial, 2, 4)
    _check(trial, 4, 12)
    for _ in range(8):
        ranks = trial.random.randint(3, 7)
        _check(trial, ranks, ranks * trial.random.randint(2, 9) + trial.random.randint(1, ranks - 1))
    _check(trial, 6, 3)
    _check(trial, 1, 5)


def _check(trial: Trial, ranks: int, size: int) -> None:
    plans = []
    for rank in range(ranks):
        plans.append(trial.call("ring_all_reduce", rank, ranks, size))
        _check_plan(trial, plans[-1], ranks, size)
    vectors = _run(trial, plans, size)
    whole = Counter(range(ranks))
    rows = [f"{rank:>4}  " + "".join("·" if parts == whole else "█" for parts in v) for rank, v in enumerate(vectors)]
    heads = Text("elements, rank by rank: · the sum  █ not the sum", "各进程的元素：· 是总和  █ 不是总和")
    trial.picture(Text(*("\n".join([head, *rows]) for head in heads.values())))
    for i in range(size):
        for rank, vector in enumerate(vectors):
            times = [vector[i][other] for other in range(ranks)]
            trial.expect(
                vector[i] == whole,
                Text(
                    f"Element {i} of rank {rank} is not the sum over {ranks} ranks: it holds the parts of ranks 0 to "
                    f"{ranks - 1} {times} times; each must be in it once.",
                    f"{rank}号进程的第{i}个元素不是{ranks}个进程的总和：0到{ranks - 1}号进程的那一份在其中分别出现了"
                    f"{times}次，每一份都应恰好出现一次。",
                ),
            )


def _check_plan(trial: Trial, plan: Plan, ranks: int, size: int) -> None:
    for k, (send, receive, _) in enumerate(plan):
        trial.expect(
            all(0 <= first <= last <= size for first, last in (send, receive)),
            Text(
                f"Step {k} is {plan[k]}. Its ranges (first, last) must have 0 <= first <= last <= {size}.",
                f"第{k}步是{plan[k]}。其中的区间(first, last)应满足0 <= first <= last <= {size}。",
            ),
        )
    trial.expect_equal(len(plan), 2 * (ranks - 1), what=STEPS)
    lengths = [last - first for (first, last), _, _ in plan]
    trial.expect_at_most(max(lengths, default=0), -(-size // ranks), what=LONGEST)
    trial.expect_at_most(4 * sum(lengths), 8 * (size - size // ranks), what=SENT, unit=BYTES)


def _run(trial: Trial, plans: list[Plan], size: int) -> list[list[Counter[int]]]:
    """The vectors of all ranks after all steps: how often each rank's part is in each element."""
    vectors = [[Counter([rank])] * size for rank in range(len(plans))]
    for k, steps in enumerate(zip(*plans, strict=True)):
        messages = [vector[slice(*send)] for vector, (send, _, _) in zip(vectors, steps, strict=True)]
        for rank, (_, receive, add) in enumerate(steps):
            sender = (rank - 1) % len(plans)
            send = steps[sender][0]
            trial.expect(
                range(*send) == range(*receive),  # as are two empty ones
                Text(
                    f"In step {k} rank {sender} sends elements {send}, and rank {rank} puts them to {receive}.",
                    f"第{k}步中，{sender}号进程发出元素{send}，{rank}号进程却把它们放到{receive}。",
                ),
                hint=Text(
                    "What a rank receives is the chunk that the rank before it sends in the same step.",
                    "一个进程接收的，就是它前一个进程在同一步发出的那一块。",
                ),
            )
            for i, arrived in zip(range(*receive), messages[sender], strict=True):
                vectors[rank][i] = arrived + vectors[rank][i] if add else arrived
    return vectors
