"""Gates on the tokens kept and drawn, against sums of whole numbers; rows on which rounding or a tie shows."""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property, lru_cache
from random import Random

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

PRELOAD = ("torch",)
DIGITS = 60  # weights are whole multiples of 10 ** -60
INF = float("inf")
NEXT_TO_1 = 1 - 2.0**-53
CLOSE = 1e-10  # what float64 need not tell from equal


@lru_cache(maxsize=100_000)
def _weight(below: float, temperature: float) -> int:
    """exp(below / temperature) in units of 10 ** -60, where `below` is a logit less the largest, exactly."""
    with localcontext() as context:
        context.prec = 80
        return int((Decimal(below) / Decimal(temperature)).exp().scaleb(DIGITS)) if below > -INF else 0


@dataclass(frozen=True)
class Row:
    """A row of the batch and its parameters."""

    logits: tuple[float, ...]
    temperature: float = 1.0
    k: int = 0
    p: float = 1.0

    @cached_property
    def order(self) -> list[int]:
        """Tokens that are possible, the likeliest first, equal ones by id."""
        return sorted((i for i, x in enumerate(self.logits) if x > -INF), key=lambda i: (-self.logits[i], i))

    @cached_property
    def weights(self) -> list[int]:
        """By token."""
        most = max(self.logits)
        return [_weight(x - most, self.temperature or 1.0) for x in self.logits]

    def head(self, order: list[int], p: float, among: int, more: bool = False, fewer: bool = False) -> int:
        """How many of `order` it takes to reach p of the weight of the first `among`."""
        over, under = p.as_integer_ratio()
        aim = over * sum(self.weights[i] for i in order[:among])
        total = 0
        for n, i in enumerate(order, start=1):
            total += self.weights[i] * under
            if total > aim or (total == aim and not more):
                return n - fewer
        return len(order)

    @cached_property
    def kept(self) -> list[int]:
        """What is right, ascending."""
        if self.temperature == 0:
            return self.order[:1]
        among = min(self.k or len(self.order), len(self.order))
        return sorted(self.order[: among if self.p == 1 else self.head(self.order[:among], self.p, among)])

    def is_clear(self) -> bool:
        """Whether the boundary of top-p is either hit exactly, among equal weights, or missed by more than rounding."""
        if self.p == 1 or self.temperature == 0:
            return True
        among = self.order[: self.k or None]
        over, under = self.p.as_integer_ratio()
        aim, total = over * sum(self.weights[i] for i in among), 0
        for i in among:
            total += self.weights[i] * under
            flat = self.weights[among[0]] == self.weights[among[-1]]
            if abs(total - aim) < CLOSE * aim and not (flat and total == aim):
                return False
        return True


EXAMPLE = (1.0, 3.0, 2.0, 3.0, -INF, 1.0)


def check(trial: Trial) -> None:
    example = [Row(EXAMPLE, 1.0, 0, 0.75), Row(EXAMPLE, 2.0, 0, 0.75), Row(EXAMPLE, 2.0, 3, 0.75), Row(EXAMPLE, 0.0)]
    _check_keep(trial, example)
    _check_draw(trial, example, [0.5, 0.0, 0.75, NEXT_TO_1])
    for V in (24, 150, 400, 3000):
        rows = [make(trial.random, V) for make in (_flat, _tied, _deep, _dominant, _near_1, _greedy, _mixed, _mixed)]
        trial.random.shuffle(rows)
        _check_keep(trial, rows)
        _check_draw(trial, rows, [_uniform(trial.random, row) for row in rows])


def _clear(random: Random, make) -> Row:
    while not (row := make()).is_clear():
        pass
    return row


def _flat(random: Random, V: int) -> Row:
    """Equal logits among impossible ones, and a p that a sum of some hits exactly."""
    n = random.choice([12, 14, 20])  # half of them, each 1 / n in float64, sum to less than 0.5
    logits = [-INF] * V
    for i in random.sample(range(1, V), n):
        logits[i] = 0.25
    return Row(tuple(logits), random.choice([0.5, 1.0, 1.5]), random.choice([0, V]), 0.5)


def _tied(random: Random, V: int) -> Row:
    """Many equal logits at both boundaries."""

    def make() -> Row:
        logits = tuple(random.randint(-4, 4) / 2 for _ in range(V))
        return Row(logits, random.choice([0.5, 0.8, 1.25]), random.randint(V // 3, V // 2), random.uniform(0.6, 0.9))

    return _clear(random, make)


def _deep(random: Random, V: int) -> Row:
    """All of p, with tokens so unlikely that a sum of floats passes them over."""
    logits = [-random.randint(0, 480) / 8 for _ in range(V)]
    logits[random.randrange(V)] = -INF
    return Row(tuple(logits), random.choice([0.5, 1.0]))


def _dominant(random: Random, V: int) -> Row:
    """One token that has more than p, at logits beyond the range of exp."""
    logits = [random.randint(7000, 8000) / 8 for _ in range(V)]
    logits[random.randrange(V)] = 1100.0
    return Row(tuple(logits), 1.0, random.choice([0, 5]), random.choice([1e-9, 0.3, 0.9]))


def _near_1(random: Random, V: int) -> Row:
    """A p next to 1: float32 can't tell the sums in the tail apart."""

    def make() -> Row:
        return Row(tuple(-random.randint(0, 160) / 8 for _ in range(V)), 1.0, 0, 1 - random.uniform(1, 4) * 1e-8)

    return _clear(random, make)


def _greedy(random: Random, V: int) -> Row:
    """Temperature 0, with several largest logits."""
    logits = [random.randint(-40, 20) / 8 for _ in range(V)]
    for i in random.sample(range(1, V), 3):
        logits[i] = 3.0
    return Row(tuple(logits), 0.0, random.choice([0, 4]), random.choice([0.5, 1.0]))


def _mixed(random: Random, V: int) -> Row:
    """A temperature that moves the boundary, top-k that takes mass away, and top-p."""

    def make() -> Row:
        logits = tuple(random.randint(-32, 24) / 8 if random.random() < 0.9 else -INF for _ in range(V))
        k = random.choice([0, 1, V // 3, V // 2, 2 * V])
        return Row(logits, random.choice([0.4, 0.7, 1.6]), k, random.uniform(0.5, 0.95))

    return _clear(random, make)


def _tensors(rows: list[Row]) -> tuple[torch.Tensor, ...]:
    logits_BV = torch.tensor([row.logits for row in rows])
    temperature_B = torch.tensor([row.temperature for row in rows], dtype=torch.float64)
    return logits_BV, temperature_B


def _what(row: Row, r: int) -> dict[str, str]:
    parameters = f"temperature {row.temperature:g}, top_k {row.k}, top_p {row.p!r}"
    return Text(f"Row {r} ({parameters}): the tokens kept", f"第{r}行（{parameters}）：保留的词元")


def _check_keep(trial: Trial, rows: list[Row]) -> None:
    logits_BV, temperature_B = _tensors(rows)
    k_B = torch.tensor([row.k for row in rows])
    p_B = torch.tensor([row.p for row in rows], dtype=torch.float64)
    got = trial.call("keep", logits_BV, temperature_B, k_B, p_B)
    expected_BV = torch.zeros(logits_BV.shape, dtype=torch.bool)
    for row, expected_V in zip(rows, expected_BV, strict=True):
        expected_V[row.kept] = True
    if type(got) is not torch.Tensor or got.shape != expected_BV.shape or got.dtype != torch.bool:
        trial.expect_tensor(got, expected_BV)
    for r, (row, got_V) in enumerate(zip(rows, got, strict=True)):
        tokens = got_V.nonzero()[:, 0].tolist()
        wrong = tokens != row.kept
        if wrong:
            trial.picture(_picture(row, set(tokens)))
        trial.expect_equal(tokens, row.kept, what=_what(row, r), hints=_keep_hints(row) if wrong else [])


def _keep_hints(row: Row) -> list[Hint]:
    if row.temperature == 0:
        return [
            Hint(
                lambda got: got and all(row.logits[i] == row.logits[row.order[0]] for i in got),
                Text(
                    "Of several largest logits, temperature 0 keeps the one with the smallest id, and no other.",
                    "最大的logit有几个并列时，温度0只保留id最小的那一个。",
                ),
            ),
            Hint(
                lambda got: len(got) > 1,
                Text(
                    "Temperature 0 keeps one token, the likeliest, whatever k and p are.",
                    "温度为0时只保留一个词元，即最可能的，不管k和p是多少。",
                ),
            ),
            Hint(
                lambda got: not got,
                Text(
                    "Nothing is kept: dividing by a temperature of 0 gives no numbers. Treat it by itself.",
                    "一个也没有保留：除以为0的温度，得不到数。应单独处理。",
                ),
            ),
        ]
    order, right = row.order, set(row.kept)
    among = min(row.k or len(order), len(order))
    first, count = order[:among], len(right)
    last = row.logits[order[count - 1]]
    by_larger_id = sorted(order, key=lambda i: (-row.logits[i], -i))
    whole = min(row.head(order, row.p, len(order)), among)
    plain = Row(row.logits, 1.0, row.k, row.p)
    return [
        Hint(
            lambda got: any(row.logits[i] == -INF for i in got),
            Text(
                "A token with a logit of -inf has probability 0 and is never kept, not even by p = 1.",
                "logit为-inf的词元概率为0，任何时候都不保留，p = 1时也不例外。",
            ),
        ),
        Hint(
            lambda got: row.p == 1 and set(got) < right,
            Text(
                "p = 1 lets all through that top-k has left. A sum of floating-point numbers reaches 1 before the last "
                "of them.",
                "p = 1应放过top-k留下的全部词元。浮点数的和不等加到最后一个就已经到1了。",
            ),
        ),
        Hint(
            sorted(order[: row.head(first, row.p, among, fewer=True)]),
            Text(
                "The last token is missing: the one whose probability brings the sum to p belongs to the set.",
                "少了最后一个词元：使总和达到p的那一个也属于这个集合。",
            ),
        ),
        Hint(
            sorted(order[: row.head(first, row.p, among, more=True)]),
            Text(
                "One token too many: at the one before it the sum is exactly p, which is 'at least p'. Sums of equal "
                "numbers are exact if nothing has been divided: compare the sum of the weights with p times their "
                "total.",
                "多了一个词元：加到前一个时，总和恰好等于p，“至少为p”已经满足。只要没有做过除法，相等的数之和就是精确的："
                "应把权重之和与p乘以总权重相比。",
            ),
        ),
        Hint(
            [i for i, x in enumerate(row.logits) if x >= last and x > -INF],
            Text(
                "You kept all tokens with the logit of the last one. Of equal ones only as many are kept as are "
                "needed, "
                "those with the smaller ids.",
                "与最后一个词元logit相等的，你都保留了。相等的词元只保留够用的几个，取id较小的。",
            ),
        ),
        Hint(
            sorted(by_larger_id[:count]),
            Text(
                "Right in number, but of equal tokens those with the smaller ids come first. Is your sort stable?",
                "个数对了，但相等的词元应是id较小的在前。你用的排序稳定吗？",
            ),
        ),
        Hint(
            sorted(order[:whole]),
            Text(
                "You took p of the whole vocabulary. Top-k comes first; p is a part of what it has left.",
                "你取的是整个词表的p。应先做top-k，p是对它留下的部分而言的。",
            ),
        ),
        Hint(
            plain.kept,
            Text(
                "This is what temperature 1 keeps. The temperature changes the probabilities, and comes first.",
                "这是温度为1时保留的词元。温度会改变概率，应最先处理。",
            ),
        ),
        Hint(
            lambda got: sorted(order[: len(got)]) == got and abs(len(got) - count) <= max(2, count // 5),
            Text(
                "Nearly: this is rounding. Sum in float64, and compare the sum of the weights with p times their "
                "total.",
                "差一点：这是舍入误差。应在float64中求和，并把权重之和与p乘以总权重相比。",
            ),
        ),
    ]


def _picture(row: Row, got: set[int]) -> dict[str, str]:
    """The likeliest tokens around the boundary, with the share of each and the sum so far."""
    if row.temperature == 0:
        order, count = row.order, 1
    else:
        order, count = row.order[: row.k or None], len(row.kept)
    total = sum(row.weights[i] for i in order)
    lines = [f"{'rank':>5} {'token':>6} {'logit':>9} {'share':>9} {'sum':>20}  right  yours"]
    for n in range(max(0, count - 4), min(len(order), count + 4)):
        i, sum_ = order[n], sum(row.weights[i] for i in order[: n + 1])
        marks = "   ".join("keep" if kept else "  · " for kept in (n < count, i in got))
        share, sum_ = row.weights[i] / total, sum_ / total
        lines.append(f"{n:>5} {i:>6} {row.logits[i]:>9g} {share:>9.2g} {sum_:>20.17f}   {marks}")
    table = "\n".join(line.rstrip() for line in lines)
    return Text(f"tokens that top-k has left, around the boundary\n{table}", f"top-k留下的词元，边界附近\n{table}")


def _uniform(random: Random, row: Row) -> float:
    """A number in [0, 1) that decides clearly, or sits exactly on a boundary between equal weights."""
    kept = row.kept
    flat = len({row.logits[i] for i in kept}) == 1
    if flat:
        return random.choice([0.0, 0.25, 0.5, 0.75, NEXT_TO_1])
    total, sums = sum(row.weights[i] for i in kept), [0]
    for i in kept:
        sums.append(sums[-1] + row.weights[i])
    while True:
        u = random.random() * random.choice([1.0, 1.0, 0.0])
        if u == 0 or all(abs(sum_ / total - u) > CLOSE for sum_ in sums):
            return u


def _drawn(row: Row, among: list[int], u: float, temperature: float, reached: bool = False) -> int:
    """The first of `among`, in this order, at which the sum exceeds u; or reaches it."""
    over, under = u.as_integer_ratio()
    weights = Row(row.logits, temperature).weights
    aim, total = over * sum(weights[i] for i in among), 0
    for i in among:
        total += weights[i] * under
        if total > aim or (reached and total == aim):
            return i
    return among[-1]


def _check_draw(trial: Trial, rows: list[Row], uniforms: list[float]) -> None:
    logits_BV, temperature_B = _tensors(rows)
    kept_BV = torch.zeros(logits_BV.shape, dtype=torch.bool)
    for row, kept_V in zip(rows, kept_BV, strict=True):
        kept_V[row.kept] = True
    got = trial.call("draw", logits_BV, kept_BV, temperature_B, torch.tensor(uniforms, dtype=torch.float64))
    expected = [_drawn(row, row.kept, u, row.temperature) for row, u in zip(rows, uniforms, strict=True)]
    expected_B = torch.tensor(expected)
    if type(got) is not torch.Tensor or got.shape != expected_B.shape or got.dtype != torch.int64:
        trial.expect_tensor(got, expected_B)
    for r, (row, u) in enumerate(zip(rows, uniforms, strict=True)):
        kept, V = row.kept, len(row.logits)
        ranked = sorted(kept, key=lambda i: (-row.logits[i], i))
        hints = [
            Hint(
                lambda token, V=V: not 0 <= token < V,
                Text(
                    "This is no token: none of your running sums exceeds u times the total. Is the total the last of "
                    "them, and all of it in float64? Probabilities that were divided need not sum to 1.",
                    "没有这个词元：你的部分和没有一个超过u乘以总权重。总权重取的是最后一个部分和吗？全程都用float64吗？"
                    "概率做过除法之后，和不一定是1。",
                ),
            ),
            Hint(
                lambda token, kept=kept: token not in kept,
                Text(
                    "This token is not kept: its weight is 0. Is it where the sum *exceeds* u times the total?",
                    "这个词元没有被保留，权重应为0。总和在它那里真的**超过**u乘以总权重了吗？",
                ),
            ),
            Hint(
                _drawn(row, kept, u, row.temperature, reached=True),
                Text(
                    "At this token the sum only reaches u times the total. Wanted is the first at which it exceeds it.",
                    "总和在这个词元处只是达到u乘以总权重。要取的是第一个超过它的。",
                ),
            ),
            Hint(
                _drawn(row, ranked, u, row.temperature),
                Text(
                    "You added up in the order of probability. The running sum goes by token id.",
                    "你按概率的次序累加了。应按词元id的次序累加。",
                ),
            ),
            Hint(
                _drawn(row, kept, u, 1.0),
                Text(
                    "You drew at temperature 1. The temperature applies to what is drawn as well.",
                    "你按温度1抽取了。抽取时同样要用温度。",
                ),
            ),
        ]
        what = Text(f"Row {r} (u = {u!r}): the token drawn", f"第{r}行（u = {u!r}）：抽到的词元")
        trial.expect_equal(int(got[r]), expected[r], what=what, hints=hints)
