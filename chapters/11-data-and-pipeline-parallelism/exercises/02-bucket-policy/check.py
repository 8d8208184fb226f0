"""Gates on order, bytes and number of buckets, and on the seconds that stay exposed; random models and networks."""

from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Trial

BYTES = Text("bytes", "字节")
SECONDS = Text("s", "秒")
BUCKETS = Text("buckets", "桶的个数")
ORDER = Text("The order of all tensors, bucket after bucket", "各桶首尾相接时张量的顺序")


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
    trial.expect_equal([index for bucket in got for index in bucket], ready, what=ORDER)
    trial.expect(all(got), Text("No bucket may be empty.", "不能有空桶。"))
    filled = [sum(sizes[index] for index in bucket) for bucket in got]
    trial.picture(Text(*(bars({f"{name} {i}": n for i, n in enumerate(filled)}) for name in ("bucket", "桶"))))
    for i, bucket in enumerate(got):
        if len(bucket) > 1:
            what = Text(f"bytes of bucket {i}", f"{i}号桶的字节数")
            trial.expect_at_most(filled[i], limit if i else first, what=what, unit=BYTES)
    count = room = 0
    for index in ready:  # as full as may be is as few as can be
        if not count or sizes[index] > room:
            room = limit if count else first
            count += 1
        room -= sizes[index]
    trial.expect_at_most(len(got), count, what=BUCKETS)


def _check_exposed(
    trial: Trial, buckets: list[list[int]], sizes: list[int], ready_at: list[float], alpha: float, beta: float
) -> None:
    got = trial.call("exposed_seconds", buckets, sizes, ready_at=ready_at, alpha=alpha, beta=beta)
    sent = 0.0
    for bucket in buckets:
        begin = max(sent, *(ready_at[index] for index in bucket))
        sent = begin + alpha + beta * sum(sizes[index] for index in bucket)
    trial.expect_close(got, sent - max(ready_at), rel=1e-9, abs=1e-9, unit=SECONDS)
