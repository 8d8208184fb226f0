"""Gates on the tokens kept and drawn, against sums of whole numbers; rows on which rounding or a tie shows."""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property, lru_cache
from random import Random

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Trial

PRELOAD = ("torch",)
INF = float("inf")
NEXT_TO_1 = 1 - 2.0**-53
CLOSE = 1e-10  # what float64 need not tell from equal


@lru_cache(maxsize=100_000)
def _weight(below: float, temperature: float) -> int:
    """exp(below / temperature) in units of 10 ** -60, where `below` is a logit less the largest, exactly."""
    with localcontext() as context:
        context.prec = 80
        return int((Decimal(below) / Decimal(temperature)).exp().scaleb(60)) if below > -INF else 0


@dataclass(frozen=True)
class Row:
    """A row of the batch and its parameters."""

    logits: tuple[float, ...]
    temperature: float = 1.0
    k: int = 0
    p: float = 1.0

    @cached_property
    def weights(self) -> list[int]:
        """By token."""
        most = max(self.logits)
        return [_weight(x - most, self.temperature or 1.0) for x in self.logits]

    @cached_property
    def order(self) -> list[int]:
        """Tokens that top-k has left, the likeliest first, equal ones by id."""
        order = sorted((i for i, x in enumerate(self.logits) if x > -INF), key=lambda i: (-self.logits[i], i))
        return order[: 1 if self.temperature == 0 else self.k or None]

    @cached_property
    def kept(self) -> list[int]:
        """What is right, ascending."""
        return sorted(self.order if self.p == 1 else self.order[: 1 + _reached(self.weights, self.order, self.p)])

    def place(self, u: float) -> int:
        """Where in `kept` the token stands that `u` draws."""
        return _reached(self.weights, self.kept, u, beyond=True)

    def is_clear(self) -> bool:
        """Whether the boundary of top-p is missed by more than rounding, or hit by a sum of equal weights."""
        shifted = {_reached(self.weights, self.order, self.p + shift) for shift in (-CLOSE, 0, CLOSE)}
        return self.p == 1 or len(shifted) == 1 or len({self.logits[i] for i in self.order}) == 1


def _reached(weights: list[int], order: list[int], part: float, beyond: bool = False) -> int:
    """The place in `order` at which the running sum reaches `part` of the whole, or goes beyond it; exactly."""
    over, under = part.as_integer_ratio()
    aim, total = over * sum(weights[i] for i in order), 0
    for place, i in enumerate(order):
        total += weights[i] * under
        if total > aim or (total == aim and not beyond):
            return place
    return len(order) - 1


def check(trial: Trial) -> None:
    logits = (1.0, 3.0, 2.0, 3.0, -INF, 1.0)
    example = [Row(logits, 1.0, 0, 0.75), Row(logits, 2.0, 0, 0.75), Row(logits, 2.0, 3, 0.75), Row(logits, 0.0)]
    _check(trial, example, [0.5, 0.0, 0.75, NEXT_TO_1])
    for V in (24, 150, 400, 1000):
        rows = _rows(trial.random, V)
        _check(trial, rows, [_uniform(trial.random, row) for row in rows])


def _rows(random: Random, V: int) -> list[Row]:
    """Rows of every kind, shuffled."""
    one_of = random.choice

    def logits(low: int, high: int, unit: float, count: int = 0, other: float = -INF) -> tuple[float, ...]:
        """Random multiples of `unit`, `count` of them replaced by another number."""
        numbers = [random.randint(low, high) * unit for _ in range(V)]
        for i in random.sample(range(1, V), count):
            numbers[i] = other
        return tuple(numbers)

    rows = [
        # equal logits among impossible ones: half of them have exactly p, but 1 / n in float64 sums to less
        Row(logits(1, 1, -INF, one_of([12, 14, 20]), 0.25), one_of([0.5, 1.0, 1.5]), one_of([0, V]), 0.5),
        # many equal logits at both boundaries
        Row(logits(-4, 4, 0.5), one_of([0.5, 0.8, 1.25]), random.randint(V // 3, V // 2), random.uniform(0.6, 0.9)),
        # all of p, with tokens so unlikely that a sum of floats passes them over
        Row(logits(-120, 0, 0.5, 1), one_of([0.5, 1.0])),
        # one token that has more than p, at logits beyond the range of exp
        Row(logits(1750, 2000, 0.5, 1, 1100.0), 1.0, one_of([0, 5]), one_of([1e-9, 0.3, 0.9])),
        # a p next to 1: float32 can't tell the sums in the tail apart
        Row(logits(-40, 0, 0.5), 1.0, 0, 1 - random.uniform(1, 4) * 1e-8),
        # temperature 0, with several largest logits
        Row(logits(-40, 20, 0.125, 3, 3.0), 0.0, one_of([0, 4]), one_of([0.5, 1.0])),
    ]
    for k in (one_of([0, 1, V // 3]), one_of([V // 2, 2 * V])):  # boundaries that all three parameters move
        rows.append(Row(logits(-32, 24, 0.125, V // 10), one_of([0.4, 0.7, 1.6]), k, random.uniform(0.5, 0.95)))
    random.shuffle(rows)
    return rows if all(row.is_clear() for row in rows) else _rows(random, V)


def _uniform(random: Random, row: Row) -> float:
    """A number in [0, 1) that decides clearly, or sits exactly on a boundary between equal weights."""
    if len({row.logits[i] for i in row.kept}) == 1:
        return random.choice([0.0, 0.25, 0.5] + 3 * [NEXT_TO_1])
    u = random.random() * random.choice([1.0, 1.0, 0.0])
    around = {_reached(row.weights, row.kept, u + shift) for shift in (-CLOSE, CLOSE)}
    return u if u == 0 or len(around) == 1 else _uniform(random, row)


def _check(trial: Trial, rows: list[Row], uniforms: list[float]) -> None:
    logits_BV = torch.tensor([row.logits for row in rows])
    temperature_B, p_B, uniform_B = (
        torch.tensor(numbers, dtype=torch.float64)
        for numbers in ([row.temperature for row in rows], [row.p for row in rows], uniforms)
    )
    kept_BV = torch.zeros(logits_BV.shape, dtype=torch.bool)
    for row, kept_V in zip(rows, kept_BV, strict=True):
        kept_V[row.kept] = True
    got = trial.call("keep", logits_BV, temperature_B, torch.tensor([row.k for row in rows]), p_B)
    if got.shape == kept_BV.shape and (wrong := (got != kept_BV).any(1)).any():
        r = int(wrong.int().argmax())
        trial.picture(_picture(r, rows[r], got[r]))
    trial.expect_tensor(got, kept_BV, what=Text("The tokens kept", "保留的词元"))
    drawn_B = torch.tensor([row.kept[row.place(u)] for row, u in zip(rows, uniforms, strict=True)])
    got = trial.call("draw", logits_BV, kept_BV, temperature_B, uniform_B)
    if got.shape == drawn_B.shape and (wrong := got != drawn_B).any():
        r = int(wrong.int().argmax())
        trial.picture(_picture_of_draw(r, rows[r], uniforms[r]))
    trial.expect_tensor(got, drawn_B, what=Text("The tokens drawn", "采到的词元"))


def _picture(r: int, row: Row, got_V: torch.Tensor) -> Text:
    """The likeliest tokens around the boundary, with the share of each and the sum so far; then others in `got_V`."""
    order, count, total = row.order, len(row.kept), sum(row.weights[i] for i in row.order)
    lines = []
    for n in range(max(0, count - 4), min(len(order), count + 4)):
        share, sum_ = row.weights[order[n]] / total, sum(row.weights[i] for i in order[: n + 1]) / total
        marks = "   ".join("keep" if kept else "  · " for kept in (n < count, got_V[order[n]]))
        lines.append(f"{n:>5} {order[n]:>6} {row.logits[order[n]]:>9g} {share:>9.2g} {sum_:>20.17f}   {marks}")
    for token in [i for i in got_V.nonzero().flatten().tolist() if i not in row.order][:4]:
        lines.append(f"{'-':>5} {token:>6} {row.logits[token]:>9g} {'-':>9} {'-':>20}     ·    keep")
    table = "\n".join(line.rstrip() for line in lines)
    parameters = f"temperature {row.temperature:g}, top_k {row.k}, top_p {row.p!r}"
    return Text(
        f"row {r} ({parameters}): tokens in order, around the boundary; those without a rank can't be kept\n"
        f"{'rank':>5} {'token':>6} {'logit':>9} {'share':>9} {'sum':>20}  right  yours\n{table}",
        f"第{r}行（{parameters}）：按次序排列的词元，边界附近；没有名次的不可能保留\n"
        f"{'名次':>3} {'词元':>4} {'logit':>9} {'占比':>7} {'累计':>18}   应得   实得\n{table}",
    )


def _picture_of_draw(r: int, row: Row, u: float) -> Text:
    """The kept tokens by id, around the one that `u` draws, with their share and the sum so far."""
    place, total = row.place(u), sum(row.weights[i] for i in row.kept)
    lines = []
    for n in range(max(0, place - 3), min(len(row.kept), place + 3)):
        share, sum_ = row.weights[row.kept[n]] / total, sum(row.weights[i] for i in row.kept[: n + 1]) / total
        lines.append(f"{row.kept[n]:>6} {share:>9.2g} {sum_:>20.17f}" + "  <--" * (n == place))
    table = "\n".join(lines)
    return Text(
        f"row {r} (u = {u!r}): the kept tokens by id, around the one to be drawn\n"
        f"{'token':>6} {'share':>9} {'sum':>20}\n{table}",
        f"第{r}行（u = {u!r}）：按id排列的保留词元，应采到的词元附近\n{'词元':>4} {'占比':>7} {'累计':>18}\n{table}",
    )
