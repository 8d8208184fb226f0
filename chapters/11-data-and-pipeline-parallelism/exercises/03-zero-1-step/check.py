"""Gates on bounds, collectives, bytes of state, moments and weights of each rank, over several steps, any sizes."""

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from torch import Tensor
from torch.nn.functional import pad

PRELOAD = ("torch",)
BYTES = Text("bytes", "字节")
STATE = Text("bytes of optimizer state on this rank", "这个进程上优化器状态的字节数")
GIVEN = Text("What you gave to reduce_scatter", "交给reduce_scatter的值")
MEAN_LATER = Text(
    "The gradient goes in as it is; the mean is taken of what comes out.",
    "应把梯度原样交进去，对得到的结果再求平均。",
)


def check(trial: Trial) -> None:
    for rank in range(4):
        _check_bounds(trial, 10, 4, rank)
    _check_steps(trial, 10, 4, 3)
    for _ in range(8):
        ranks = trial.random.randint(2, 5)
        size = ranks * trial.random.randint(2, 12) - trial.random.randint(1, ranks - 1)
        rank = trial.random.randrange(ranks)
        _check_bounds(trial, size, ranks, rank)
        _check_steps(trial, size, ranks, rank)
    _check_steps(trial, 7, 1, 0)
    _check_bounds(trial, 3, 5, 4)
    _check_steps(trial, 3, 5, 4)


def _check_bounds(trial: Trial, size: int, ranks: int, rank: int) -> None:
    shard = -(-size // ranks)
    got = trial.call("shard_bounds", size, ranks, rank)
    trial.expect_equal(got, (rank * shard, (rank + 1) * shard))


def _check_steps(trial: Trial, size: int, ranks: int, rank: int) -> None:
    """Three steps of one rank, beside AdamW on the whole vector."""
    generator = trial.torch_generator()
    hyper = {
        "lr": trial.random.randint(1, 10) / 100,
        "beta1": trial.random.choice([0.8, 0.9, 0.95]),
        "beta2": trial.random.choice([0.9, 0.98, 0.99]),
        "eps": trial.random.choice([1e-8, 1e-4, 1e-2]),
        "weight_decay": trial.random.choice([0.1, 0.2, 0.5]),
    }
    weights = _random(size, generator=generator)
    reference = torch.nn.Parameter(weights.clone())
    lr, beta1, beta2, eps, weight_decay = hyper.values()
    adamw = torch.optim.AdamW([reference], lr, (beta1, beta2), eps, weight_decay)
    state = None
    for step in (1, 2, 3):
        gradients = _random(ranks, size, generator=generator)
        reference.grad = gradients.mean(0)
        adamw.step()
        group = Group(trial, gradients, reference.detach(), rank)
        collectives = {name: trial.callback(getattr(group, name)) for name in group.calls}
        got = trial.call(
            "zero1_step", weights, gradients[rank], state, step, rank=rank, ranks=ranks, **collectives, **hyper
        )
        for name, calls in group.calls.items():
            trial.expect_equal(calls, 1, what=Text(f"Calls of {name}", f"调用{name}的次数"))
        weights, state = got
        held = sum(moment.numel() * moment.element_size() for moment in state)
        trial.expect_at_most(held, 8 * group.shard, what=STATE, unit=BYTES)
        for name, moment, key in zip("mv", state, ("exp_avg", "exp_avg_sq"), strict=True):
            exact = group.split(adamw.state[reference][key])[rank]
            what = Text(f"The moment {name} of rank {rank}", f"{rank}号进程的矩{name}")
            trial.expect_tensor(moment, exact, what=what, rtol=1e-4, atol=1e-7)
        what = Text(f"Weights after step {step}", f"第{step}步之后的权重")
        trial.expect_tensor(weights, group.weights, what=what, rtol=1e-4, atol=1e-6)


def _random(*shape: int, generator: torch.Generator) -> Tensor:
    """Multiples of 1/8, which a report shows in few digits."""
    return torch.randint(-20, 21, shape, generator=generator) / 8


class Group:
    """All ranks but the answer's: what their collectives give it."""

    def __init__(self, trial: Trial, gradients: Tensor, weights: Tensor, rank: int) -> None:
        self.trial, self.gradients, self.weights, self.rank = trial, gradients, weights, rank
        self.ranks, self.size = gradients.shape
        self.shard = -(-self.size // self.ranks)
        self.calls = {"reduce_scatter": 0, "all_gather": 0}

    def split(self, flat: Tensor) -> list[Tensor]:
        """The ranks' shards of a vector, padded with zeros."""
        return list(pad(flat, (0, self.ranks * self.shard - self.size)).split(self.shard))

    def reduce_scatter(self, flat: Tensor) -> Tensor:
        """This rank's shard of the sum."""
        self._called("reduce_scatter", flat, self.ranks * self.shard)
        own = self.gradients[self.rank]
        self.trial.expect_tensor(flat[: self.size], own, what=GIVEN, hints=[Hint(own / self.ranks, MEAN_LATER)])
        return self.split(self.gradients.sum(0))[self.rank]

    def all_gather(self, shard: Tensor) -> Tensor:
        """The given shard among the new weights of the other ranks."""
        self._called("all_gather", shard, self.shard)
        shards = self.split(self.weights)
        shards[self.rank] = shard.detach()
        return torch.cat(shards)

    def _called(self, name: str, given: object, length: int) -> None:
        self.calls[name] += 1
        found = list(given.shape) if isinstance(given, Tensor) else type(given).__name__
        self.trial.expect(
            found == [length],
            Text(
                f"{name} takes a vector of {length} elements here, not {found}.",
                f"这里{name}要的是{length}个元素的向量，而不是{found}。",
            ),
            hint=Text(
                f"{self.size} elements on {self.ranks} ranks are {self.ranks} shards of {self.shard}: pad the "
                "vector with zeros to their length together.",
                f"{self.size}个元素分给{self.ranks}个进程，是{self.ranks}个长{self.shard}的分片："
                "应用零把向量填充到这个总长。",
            ),
        )
