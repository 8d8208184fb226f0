"""Gates on order, bytes and number of buckets, and on the seconds that stay exposed; random models and networks."""

from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Hint, Trial

BYTES = Text("bytes", "字节")
SECONDS = Text("s", "秒")
BUCKETS = Text("buckets", "桶的个数")


def check(trial: Trial) -> None:
    sizes = [6, 2, 4, 4, 1]
    _check_buckets(trial, sizes, [4, 3, 2, 1, 0], 4, 8)
    _check_exposed(trial, [[4], [3, 2], [1, 0]], sizes, [1.0, 0.8, 0.6, 0.4, 0.2], 0.1, 0.05)
    for _ in range(12):
        count = trial.random.randint(6, 20)
        limit = trial.random.randint(40, 100)
        sizes = [trial.random.randint(1, limit * 2 // 3) for _ in range(count)]
        sizes[trial.random.randrange(count)] = limit + trial.random.randint(1, limit)
        ready = list(reversed(range(count)))
        for _ in range(3):  # a graph's order is nearly that of registration, not quite
            i = trial.random.randrange(count - 1)
            ready[i], ready[i + 1] = ready[i + 1], ready[i]
        _check_buckets(trial, sizes, ready, limit // trial.random.randint(3, 6), limit)

        ready_at, now = [0.0] * count, 0.0
        for index in ready:
            now += sizes[index] * trial.random.uniform(0.5, 1.5)
            ready_at[index] = now
        cuts = sorted(trial.random.sample(range(1, count), trial.random.randint(2, 4)))
        buckets = [ready[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
        beta = trial.random.uniform(0.5, 2)  # from a network that keeps up to one that does not
        _check_exposed(trial, buckets, sizes, ready_at, trial.random.uniform(1, 30), beta)


def _check_buckets(trial: Trial, sizes: list[int], ready: list[int], first: int, limit: int) -> None:
    got = trial.call("assign_buckets", sizes, ready, first_bytes=first, bucket_bytes=limit)
    trial.expect(
        type(got) is list and all(type(b) is list and b and all(type(i) is int for i in b) for b in got),
        Text("Return a list of lists of indices, none empty.", "应返回由下标列表组成的列表，没有空桶。"),
    )
    order = [index for bucket in got for index in bucket]
    trial.expect(
        sorted(order) == list(range(len(sizes))),
        Text("Each tensor must be in one bucket, once.", "每个张量必须恰好在一个桶里出现一次。"),
    )
    registered = Text(
        "This is the order of registration, backwards. A graph's backward pass need not follow it: `ready` says "
        "in which order gradients come.",
        "这是注册顺序的逆序。计算图的反向传播不一定按这个顺序；梯度到来的顺序由`ready`给出。",
    )
    first_to_last = Text(
        "You filled buckets from the first tensor to the last. The backward pass reaches the last layers first.",
        "你从第一个张量装到了最后一个。反向传播先到达的是最后几层。",
    )
    trial.expect_equal(
        order,
        ready,
        what=Text("The order of all tensors, bucket behind bucket", "各桶首尾相接时张量的顺序"),
        hints=[Hint(sorted(ready, reverse=True), registered), Hint(sorted(ready), first_to_last)],
    )
    filled = [sum(sizes[index] for index in bucket) for bucket in got]
    names = Text("bucket", "桶")
    trial.picture(
        {language: bars({f"{name} {i}": amount for i, amount in enumerate(filled)}) for language, name in names.items()}
    )
    for i, bucket in enumerate(got):
        if len(bucket) > 1:
            _check_bytes(trial, i, filled[i], filled[i] - sizes[bucket[-1]], first, limit)
    alone = Hint(
        len(sizes),
        Text(
            "Each gradient has a message of its own, and each message costs a latency. Fill the buckets.",
            "每个梯度各发一条消息，每条消息都有一次延迟。应把桶装满。",
        ),
    )
    fewest = _fewest(sizes, ready, first, limit)
    trial.expect_at_most(len(got), fewest, what=BUCKETS, hints=[alone])


def _check_bytes(trial: Trial, number: int, amount: int, before_last: int, first: int, limit: int) -> None:
    most = limit if number else first
    overflowed = Hint(
        lambda _: before_last <= most,
        Text(
            "The last tensor of this bucket no longer fitted. Close a bucket before the tensor that would overfill it, "
            "not after.",
            "这一桶的最后一个张量已经放不下了。应在会超出限额的张量之前关桶，而不是之后。",
        ),
    )
    small = Hint(
        lambda _: not number and amount <= limit,
        Text(
            "The first bucket has a limit of its own, `first_bytes`: the network is idle until it leaves.",
            "第一桶有自己的限额`first_bytes`：它发出之前，网络一直闲着。",
        ),
    )
    what = Text(f"bytes of bucket {number}", f"{number}号桶的字节数")
    trial.expect_at_most(amount, most, what=what, unit=BYTES, hints=[overflowed, small] if number else [small])


def _fewest(sizes: list[int], ready: list[int], first: int, limit: int) -> int:
    """The least number of consecutive groups of `ready` that keep the limits."""
    fewest = {0: 0}  # by number of tensors placed
    for end in range(1, len(ready) + 1):
        options = []
        for begin in range(end):
            amount = sum(sizes[index] for index in ready[begin:end])
            if end - begin == 1 or amount <= (limit if begin else first):
                options.append(fewest[begin] + 1)
        fewest[end] = min(options)
    return fewest[len(ready)]


def _check_exposed(
    trial: Trial, buckets: list[list[int]], sizes: list[int], ready_at: list[float], alpha: float, beta: float
) -> None:
    got = trial.call("exposed_seconds", buckets, sizes, ready_at=ready_at, alpha=alpha, beta=beta)
    complete = [max(ready_at[index] for index in bucket) for bucket in buckets]
    seconds = [alpha + beta * sum(sizes[index] for index in bucket) for bucket in buckets]
    over = max(ready_at)

    def end(off: float = 0.0) -> float:
        """When the last bucket has been sent, if each took `off` seconds less."""
        free = 0.0
        for ready, duration in zip(complete, seconds, strict=True):
            free = max(free, ready) + duration - off
        return free

    hints = [
        Hint(
            complete[-1] + seconds[-1] - over,
            Text(
                "You took the last bucket alone. It may have to wait: the bucket before it is still being sent.",
                "你只看了最后一桶。它可能要等：前一桶还没有发完。",
            ),
        ),
        Hint(
            end(),
            Text(
                "This is the moment at which all is done. Asked for is the time since the last gradient came.",
                "这是全部完成的时刻。要求的是从最后一个梯度到来算起的时间。",
            ),
        ),
        Hint(
            end(alpha) - over,
            Text(
                "The latency is missing: every bucket costs alpha, however small it is.",
                "漏了延迟：一桶无论多小，都要付一次alpha。",
            ),
        ),
        Hint(
            sum(seconds),
            Text(
                "You added up all messages. Those that travel while the backward pass still computes are not exposed.",
                "你把所有消息的时间加了起来。反向传播还在计算时就发出的那部分，已经被掩盖了。",
            ),
        ),
        Hint(
            sum(seconds) - over,
            Text(
                "The network does not work from second 0 on: it is idle until the first bucket is complete, and "
                "whenever the next one is not.",
                "网络并不是从第0秒就开始工作的：第一桶到齐之前，以及每当下一桶还没有到齐时，它都闲着。",
            ),
        ),
    ]
    trial.expect_close(got, end() - over, rel=1e-9, abs=1e-9, unit=SECONDS, hints=hints)
