"""Gates on the three numbers, for published models on a published device and for random shapes and machines."""

import math
from dataclasses import dataclass, replace

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.config import ModelConfig
from sysai.models.presets import PRESETS

SECONDS = Text("s", "s")
SEQUENCES = Text("sequences", "个序列")
RATE = Text("tokens/s", "词元/秒")
BATCH = Text("The batch size", "批大小")
THROUGHPUT = Text("The throughput", "吞吐量")


@dataclass(frozen=True)
class Case:
    """A model and a machine, with a mean context; `size` are bytes of an element."""

    config: ModelConfig
    context: int
    size: int
    memory: float
    bandwidth: float
    peak: float

    @property
    def table(self) -> int:
        return self.config.vocab_size * self.config.d_model

    @property
    def used(self) -> int:
        """Weights that a step reads and multiplies."""
        c = self.config
        attention = 2 * c.d_model * c.head_dim * (c.n_heads + c.n_kv_heads)
        return c.n_layers * (attention + 3 * c.d_model * c.d_ff + 2 * c.d_model) + c.d_model + self.table

    @property
    def held(self) -> int:
        """All weights."""
        return self.used + (0 if self.config.tie_embeddings else self.table)

    @property
    def cache(self) -> int:
        """Bytes of one sequence's keys and values."""
        return 2 * self.config.n_layers * self.config.n_kv_heads * self.config.head_dim * self.context * self.size

    @property
    def attention(self) -> int:
        """FLOPs of one sequence's scores and mixtures."""
        return 4 * self.config.n_layers * self.config.n_heads * self.config.head_dim * self.context

    def fit(self, weights: int | None = None, cache: float | None = None) -> int:
        free = self.memory - (self.held if weights is None else weights) * self.size
        return max(0, int(free // (cache or self.cache)))

    def traffic(self, batch: int) -> float:
        return (self.used * self.size + batch * self.cache) / self.bandwidth

    def arithmetic(self, batch: int) -> float:
        return batch * (2 * self.used + self.attention) / self.peak

    def seconds(self, batch: int) -> float:
        return max(self.traffic(batch), self.arithmetic(batch))

    def rate(self, batch: int) -> float:
        return batch / self.seconds(batch)

    def largest(self, target: float, fit: int) -> int:
        """The largest batch of at most `fit` whose step takes at most `target`; a step grows with the batch."""
        low, high = 0, fit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.seconds(middle) <= target else (low, middle - 1)
        return low

    def smallest_good(self, largest: int) -> int:
        """Throughput never falls as the batch grows."""
        return next(b for b in range(1, largest + 1) if self.rate(b) >= 0.99 * self.rate(largest))

    def is_clear(self, target: float) -> bool:
        """No comparison hangs on the last digits of a float."""
        largest = self.largest(target, self.fit())
        pairs = [(self.seconds(batch), target) for batch in (max(1, largest), largest + 1)]
        if largest:
            best, good = self.rate(largest), self.smallest_good(largest)
            pairs += [(self.rate(batch), 0.99 * best) for batch in (good, max(1, good - 1))]
        return not any(math.isclose(a, b, rel_tol=1e-9) for a, b in pairs)


def check(trial: Trial) -> None:
    h100 = {"memory": 80e9, "bandwidth": 3.35e12, "peak": 989e12}  # the data sheet, sysai.hardware.devices
    llama = Case(PRESETS["Llama 3 8B"], context=2048, size=2, **h100)
    short, small = replace(llama, context=256), replace(llama, config=PRESETS["SmolLM2-135M"], memory=8e9)
    for case in (llama, short, small, replace(llama, config=PRESETS["Llama 3 70B"])):
        _check_fit(trial, case)
    for case in (llama, short, small):
        _check_step(trial, case, 1)
        _check_step(trial, case, 400)
    _check_step(trial, short, 1200)
    _check_best(trial, llama, 20e-3)
    _check_best(trial, short, 30e-3)
    for i in range(10):
        case = _random_case(trial, tied=i % 2 == 1)
        balance = math.ceil(case.used * case.size / case.bandwidth * case.peak / (2 * case.used + case.attention))
        _check_fit(trial, case)
        _check_step(trial, case, trial.random.randint(1, 4))
        _check_step(trial, case, trial.random.randint(1, 4 * balance))
        _check_best(trial, case, _target(trial, case, possible=i != 3))


def _random_case(trial: Trial, tied: bool) -> Case:
    """With room for 50 to 1,500 sequences, some of them bound by arithmetic in large batches."""
    random = trial.random
    config = replace(random_config(random), tie_embeddings=tied)
    case = Case(config, random.randint(100, 5000), random.choice([1, 2, 4]), 1.0, random.uniform(0.2e12, 8e12), 1.0)
    case = replace(case, memory=float(case.held * case.size + int(case.cache * random.uniform(50, 1500))))
    meets = random.choice([0.2, 0.5, 0.8, 3.0]) * case.fit()  # the batch at which both limits take as long
    peak = meets * (2 * case.used + case.attention) * case.bandwidth / (case.used * case.size + meets * case.cache)
    return replace(case, peak=peak)


def _target(trial: Trial, case: Case, possible: bool) -> float:
    while True:
        low, high = case.seconds(1), case.seconds(case.fit())
        target = trial.random.uniform(low, 1.2 * high) if possible else 0.9 * low
        if case.is_clear(target):
            return target


def _check_fit(trial: Trial, case: Case) -> None:
    got = trial.call("sequences_that_fit", case.config, case.context, case.size, memory=case.memory)
    heads = case.config.n_heads // case.config.n_kv_heads
    hints = [
        Hint(
            case.fit(weights=0),
            Text(
                "This fills all memory with cache. The weights lie in the same memory.",
                "这样算，整个内存都给了缓存。权重也在同一块内存里。",
            ),
        ),
        Hint(
            case.fit(cache=heads * case.cache),
            Text(
                "This keeps keys and values for every query head. With grouped queries there are n_kv_heads of them.",
                "这样算，每个查询头各存一份键和值。分组查询注意力只存n_kv_heads份。",
            ),
        ),
        Hint(
            case.fit(cache=case.cache / 2),
            Text(
                "A position keeps a key and a value: twice as many elements as counted here.",
                "每个位置既存键又存值，元素数是这里所算的两倍。",
            ),
        ),
        Hint(
            case.fit(cache=case.cache / case.config.n_layers),
            Text(
                "This is the cache of one layer. Every layer keeps its own.", "这只是一层的缓存。每一层都要各存各的。"
            ),
        ),
        Hint(
            lambda value: type(value) is int and value < 0,
            Text(
                "The weights alone are more than the memory: then nothing fits, and nothing is 0.",
                "单是权重就超出了内存，一个序列也放不下，应当返回0。",
            ),
        ),
    ]
    if not case.config.tie_embeddings:
        table = Hint(
            case.fit(weights=case.used),
            Text(
                "The embedding table is not read whole in a step, but it has to lie in memory.",
                "嵌入表在一步中不会整个读一遍，但它要放在内存里。",
            ),
        )
        hints.append(table)
    trial.expect_equal(got, case.fit(), unit=SEQUENCES, hints=hints)


def _check_step(trial: Trial, case: Case, batch: int) -> None:
    machine = {"bandwidth": case.bandwidth, "peak": case.peak}
    got = trial.call("step_seconds", case.config, batch, case.context, case.size, **machine)
    traffic, arithmetic = case.traffic(batch), case.arithmetic(batch)
    weights, cache = case.used * case.size, case.cache
    heads = case.config.n_heads // case.config.n_kv_heads

    def seconds(bytes: float, flops: float = arithmetic * case.peak) -> float:
        return max(bytes / case.bandwidth, flops / case.peak)

    hints = [
        Hint(
            seconds(batch * (weights + cache)),
            Text(
                "This reads the weights once for each sequence. The point of a batch is that they are read once a "
                "step, "
                "for all.",
                "这样算，每个序列都读了一遍权重。批处理的意义就在于：权重一步只读一遍，供所有序列使用。",
            ),
        ),
        Hint(
            seconds(weights + cache),
            Text(
                "This reads the cache of one sequence. Nobody can use another's: a step reads all of them.",
                "这里只读了一个序列的缓存。缓存不能互相借用，一步要把每个序列的都读一遍。",
            ),
        ),
        Hint(seconds(weights), Text("This reads the weights and no cache.", "这里只读了权重，没有读缓存。")),
        Hint(
            seconds(weights + batch * heads * cache),
            Text(
                "This reads keys and values of every query head. With grouped queries there are n_kv_heads of them.",
                "这样算，读的键和值与查询头一样多。分组查询注意力只有n_kv_heads份。",
            ),
        ),
        Hint(
            seconds(weights + batch * cache / 2),
            Text(
                "A position keeps a key and a value: twice as many bytes as counted here.",
                "每个位置既存键又存值，字节数是这里所算的两倍。",
            ),
        ),
        Hint(
            traffic + arithmetic,
            Text(
                "You added the two times. The roofline assumes that they overlap perfectly: take the larger one.",
                "你把两个时间加了起来。屋顶线假定两者完全重叠，应取较大的一个。",
            ),
        ),
        Hint(
            min(traffic, arithmetic),
            Text(
                "This is the shorter of the two times. A step is no faster than its slower part: compare both.",
                "这是两个时间中较短的一个。一步不会比其中慢的一项更快，两项都要算，再作比较。",
            ),
        ),
        Hint(
            seconds(weights + batch * cache, 2 * case.used * batch),
            Text(
                "The arithmetic lacks attention's own: 4 operations for each query head, element of a head and token.",
                "运算中漏了注意力自身的部分：每个查询头、头内每个元素、每个词元各4次运算。",
            ),
        ),
        Hint(
            seconds(weights + batch * cache, 2 * case.used + case.attention),
            Text(
                "The arithmetic is that of one sequence. Weights are read once for all, but each token multiplies "
                "them.",
                "这里的运算只是一个序列的。权重为所有序列只读一遍，但每个词元都要用它们做乘法。",
            ),
        ),
    ]
    if not case.config.tie_embeddings:
        more = case.table * case.size
        with_table = Hint(
            seconds(weights + more + batch * cache, batch * (2 * (case.used + case.table) + case.attention)),
            Text(
                "You counted the embedding table. It is only looked up here (tie_embeddings is False).",
                "你计入了嵌入表。这里它只用来查表（tie_embeddings为False）。",
            ),
        )
        hints.append(with_table)
    trial.expect_close(got, case.seconds(batch), unit=SECONDS, hints=hints)


def _check_best(trial: Trial, case: Case, target: float) -> None:
    machine = {"memory": case.memory, "bandwidth": case.bandwidth, "peak": case.peak}
    got = trial.call("best_batch", case.config, case.context, case.size, **machine, target=target)
    fit = case.fit()
    largest = case.largest(target, fit)
    if not largest:
        none = Text(
            f"A step of one sequence takes {case.seconds(1):.4g} s, more than the target: return None.",
            f"一个序列的一步要{case.seconds(1):.4g} s，已超出目标，应返回None。",
        )
        trial.expect(got is None, none)
        return
    trial.expect(
        type(got) is tuple and len(got) == 2,
        Text("Return a tuple: batch size, tokens/s.", "应返回元组：批大小，每秒词元数。"),
    )
    good = case.smallest_good(largest)
    hints = [
        Hint(
            largest,
            Text(
                f"{largest} is the largest batch size allowed, and a smaller one reaches 99% of its throughput: the "
                "users' tokens come faster, and memory stays free.",
                f"{largest}是允许的最大批大小，而更小的就能达到它99%的吞吐量：用户的词元来得更快，内存也有余。",
            ),
        ),
        Hint(
            case.smallest_good(fit),
            Text(
                "This batch size is chosen as if there were no target: only the room in memory limits it.",
                "这个批大小没有考虑目标，只受内存限制。",
            ),
        ),
        Hint(fit, Text("As many as fit; the target is not met.", "这是内存放得下的最大值，没有满足目标。")),
        Hint(
            lambda value: type(value) is int and value > fit,
            Text(f"Only {fit} sequences fit.", f"内存里只放得下{fit}个序列。"),
        ),
    ]
    trial.expect_equal(got[0], good, what=BATCH, unit=SEQUENCES, hints=hints)
    one = Hint(
        1 / case.seconds(good),
        Text(
            "This is one sequence's rate. The batch writes one token for each.",
            "这是一个序列的速率。一步为批次中的每个序列各写一个词元。",
        ),
    )
    trial.expect_close(got[1], case.rate(good), unit=RATE, what=THROUGHPUT, hints=[one])
