"""Gates on the parts that each element holds in the end, on steps, longest message and bytes; any ranks, any size."""

from sysai.core.language import Text
from sysai.exercises.trial import Trial

BITS = 32  # of an element for each rank: how many times that rank's part is in it
STEPS = Text("Steps", "步数")
LONGEST = Text("elements in one message", "单条消息的元素数")
BYTES = Text("bytes", "字节")


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
        plan = trial.call("ring_all_reduce", rank, ranks, size)
        _check_form(trial, plan, size)
        trial.expect_equal(len(plan), 2 * (ranks - 1), what=STEPS)
        plans.append(plan)
    vectors = _run(trial, plans, size)
    _check_sums(trial, plans, vectors, size)
    for rank, plan in enumerate(plans):
        _check_traffic(trial, plan, rank, ranks, size)


def _check_form(trial: Trial, plan: object, size: int) -> None:
    trial.expect(
        type(plan) is list and all(type(step) is tuple and len(step) == 3 for step in plan),
        Text("Return a list of steps (send, receive, add).", "应返回由步骤(send, receive, add)组成的列表。"),
    )
    for k, (send, receive, add) in enumerate(plan):
        right = all(
            type(part) is tuple and len(part) == 2 and all(type(end) is int for end in part) and part[0] <= part[1]
            for part in (send, receive)
        )
        trial.expect(
            right and type(add) is bool and min(send[0], receive[0]) >= 0 and max(send[1], receive[1]) <= size,
            Text(
                f"Step {k} is {plan[k]!r:.80}. It must be two ranges (first, last) with "
                f"0 <= first <= last <= {size}, and True or False.",
                f"第{k}步是{plan[k]!r:.80}。它应由两个满足0 <= first <= last <= {size}的区间(first, last)"
                "和一个True或False组成。",
            ),
        )


def _run(trial: Trial, plans: list[list], size: int) -> list[list[int]]:
    """The vectors of all ranks after all steps; at the start rank r's elements count itself once."""
    ranks = len(plans)
    vectors = [[1 << BITS * rank] * size for rank in range(ranks)]
    for k in range(len(plans[0])):
        messages = [vector[slice(*plan[k][0])] for vector, plan in zip(vectors, plans, strict=True)]
        for rank, plan in enumerate(plans):
            _, (first, last), add = plan[k]
            arrived, sender = messages[rank - 1], (rank - 1) % ranks
            trial.expect(
                len(arrived) == last - first,
                Text(
                    f"In step {k} rank {sender} sends {len(arrived)} elements, and rank {rank} expects {last - first}.",
                    f"第{k}步中，{sender}号进程发出{len(arrived)}个元素，而{rank}号进程要接收{last - first}个。",
                ),
                hint=Text(
                    "What a rank receives is the range that the rank before it sends in the same step.",
                    "一个进程接收的区间，就是它前一个进程在同一步发出的区间。",
                ),
            )
            for i, value in zip(range(first, last), arrived, strict=True):
                vectors[rank][i] = value + add * vectors[rank][i]
    return vectors


def _check_sums(trial: Trial, plans: list[list], vectors: list[list[int]], size: int) -> None:
    ranks = len(vectors)
    right = [[_parts(value, ranks) == [1] * ranks for value in vector] for vector in vectors]
    wrong = [(rank, i) for i in range(size) for rank in range(ranks) if not right[rank][i]]
    if not wrong:
        return
    rows = ["".join("·" if ok else "█" for ok in row) for row in right]
    heads = Text("elements, rank by rank: · the sum  █ not the sum", "各进程的元素：· 是总和  █ 不是总和")
    table = "\n".join(f"{rank:>4}  {row}" for rank, row in enumerate(rows))
    trial.picture(Text(*(f"{head}\n{table}" for head in heads.values())))
    rank, i = wrong[0]
    parts = _parts(vectors[rank][i], ranks)
    missing = [str(other) for other, times in enumerate(parts) if not times]
    twice = [str(other) for other, times in enumerate(parts) if times > 1]
    en = [f"missing are the parts of rank {', '.join(missing)}"] if missing else []
    zh = [f"缺少{'、'.join(missing)}号进程的那一份"] if missing else []
    if twice:
        en.append(f"added more than once are those of rank {', '.join(twice)}")
        zh.append(f"{'、'.join(twice)}号进程的那一份加了不止一次")
    trial.expect(
        False,
        Text(
            f"Element {i} of rank {rank} is not the sum over {ranks} ranks: {'; '.join(en)}.",
            f"{rank}号进程的第{i}个元素不是{ranks}个进程的总和：{'；'.join(zh)}。",
        ),
        hint=_displaced(plans),
    )


def _displaced(plans: list[list]) -> Text | None:
    """The first message that is put elsewhere than where it comes from."""
    for k in range(len(plans[0])):
        for rank, plan in enumerate(plans):
            sent, received = plans[rank - 1][k][0], plan[k][1]
            if sent != received and sent[0] < sent[1]:
                sender = (rank - 1) % len(plans)
                return Text(
                    f"In step {k} rank {sender} sends elements {sent}, and rank {rank} puts them to {received}. "
                    "What a rank receives is the chunk that the rank before it sends in the same step.",
                    f"第{k}步中，{sender}号进程发出元素{sent}，{rank}号进程却把它们放到{received}。"
                    "一个进程接收的，就是它前一个进程在同一步发出的那一块。",
                )
    return None


def _parts(value: int, ranks: int) -> list[int]:
    """How many times each rank's part was added into `value`."""
    return [value >> BITS * rank & (1 << BITS) - 1 for rank in range(ranks)]


def _check_traffic(trial: Trial, plan: list, rank: int, ranks: int, size: int) -> None:
    lengths = [last - first for (first, last), _, _ in plan]
    trial.expect_at_most(max(lengths, default=0), -(-size // ranks), what=LONGEST)
    sent = Text(f"bytes that rank {rank} sends", f"{rank}号进程发送的字节数")
    trial.expect_at_most(4 * sum(lengths), 8 * (size - size // ranks), what=sent, unit=BYTES)
