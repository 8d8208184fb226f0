"""Gates on bounds, collectives, bytes of state, moments and weights of each rank, over several steps, any sizes."""

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from torch import Tensor

PRELOAD = ("torch",)
BYTES = Text("bytes", "字节")
CLOSE = {"rtol": 1e-4, "atol": 1e-7}


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
    adamw = torch.optim.AdamW(
        [reference], hyper["lr"], (hyper["beta1"], hyper["beta2"]), hyper["eps"], hyper["weight_decay"]
    )
    state = None
    for step in (1, 2, 3):
        gradients = _random(ranks, size, generator=generator)
        reference.grad = gradients.mean(0)
        adamw.step()
        group = Group(trial, gradients, reference.detach(), rank)
        got = trial.call(
            "zero1_step",
            weights,
            gradients[rank],
            state,
            step,
            rank=rank,
            ranks=ranks,
            reduce_scatter=trial.callback(group.reduce_scatter),
            all_gather=trial.callback(group.all_gather),
            **hyper,
        )
        _check_form(trial, got, group)
        own = slice(rank * group.shard, min(size, (rank + 1) * group.shard))
        _check_moments(trial, got[1], adamw, reference, own, rank)
        what = Text(f"Weights after step {step}", f"第{step}步之后的权重")
        trial.expect_tensor(got[0], group.weights, what=what, rtol=1e-4, atol=1e-6)
        weights, state = got[0], got[1]


def _random(*shape: int, generator: torch.Generator) -> Tensor:
    """Multiples of 1/8, which a report shows in few digits."""
    return torch.randint(-20, 21, shape, generator=generator) / 8


class Group:
    """All ranks but the answer's: what their collectives give it."""

    def __init__(self, trial: Trial, gradients: Tensor, weights: Tensor, rank: int) -> None:
        self.trial, self.gradients, self.weights, self.rank = trial, gradients, weights, rank
        self.ranks, self.size = gradients.shape
        self.shard = -(-self.size // self.ranks)
        self.padding = (0, self.ranks * self.shard - self.size)
        self.reductions = self.gathers = 0

    def reduce_scatter(self, flat: Tensor) -> Tensor:
        """This rank's shard of the sum."""
        self.reductions += 1
        self._check_length("reduce_scatter", flat, self.ranks * self.shard)
        own = self.gradients[self.rank]
        self.trial.expect_tensor(
            flat[: self.size],
            own,
            what=Text("What you gave to reduce_scatter", "交给reduce_scatter的值"),
            hints=[
                Hint(
                    own / self.ranks,
                    Text(
                        "The gradient goes in as it is; the mean is taken of what comes out.",
                        "应把梯度原样交进去，对得到的结果再求平均。",
                    ),
                )
            ],
        )
        return torch.nn.functional.pad(self.gradients.sum(0), self.padding).split(self.shard)[self.rank]

    def all_gather(self, shard: Tensor) -> Tensor:
        """The given shard among the new weights of the other ranks."""
        self.gathers += 1
        self._check_length("all_gather", shard, self.shard)
        parts = list(torch.nn.functional.pad(self.weights, self.padding).split(self.shard))
        parts[self.rank] = shard.detach()
        return torch.cat(parts)

    def _check_length(self, name: str, tensor: object, length: int) -> None:
        found = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
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


def _moments(adamw: torch.optim.Optimizer, reference: Tensor) -> tuple[Tensor, Tensor]:
    zeros = torch.zeros_like(reference)
    state = adamw.state.get(reference, {})
    return state.get("exp_avg", zeros).clone(), state.get("exp_avg_sq", zeros).clone()


def _check_form(trial: Trial, got: object, group: Group) -> None:
    form = type(got) is tuple and len(got) == 2 and type(got[1]) is tuple and len(got[1]) == 2
    trial.expect(
        form and all(isinstance(tensor, Tensor) for tensor in (got[0], *got[1])),
        Text("Return a tuple: the weights, and the pair (m, v).", "应返回元组：权重，以及二元组(m, v)。"),
    )
    calls = Text("Calls of reduce_scatter", "调用reduce_scatter的次数")
    trial.expect_equal(group.reductions, 1, what=calls)
    calls = Text("Calls of all_gather", "调用all_gather的次数")
    trial.expect_equal(group.gathers, 1, what=calls)
    held = sum(tensor.numel() * tensor.element_size() for tensor in got[1])
    whole = Hint(
        8 * group.size,
        Text(
            "These are the moments of all parameters, as plain data parallelism keeps them. This rank needs those of "
            "its shard only.",
            "这是全部参数的矩，与普通数据并行所存的一样。这个进程只需要自己分片的矩。",
        ),
    )
    what = Text("bytes of optimizer state on this rank", "这个进程上优化器状态的字节数")
    trial.expect_at_most(held, 8 * group.shard, what=what, unit=BYTES, hints=[whole])
    for name, tensor in zip("mv", got[1], strict=True):
        trial.expect(
            list(tensor.shape) == [group.shard] and tensor.dtype == torch.float32,
            Text(
                f"{name} must be float32[{group.shard}], one value for each element of the shard.",
                f"{name}应是float32[{group.shard}]，分片的每个元素一个值。",
            ),
        )


def _check_moments(
    trial: Trial, got: tuple, adamw: torch.optim.Optimizer, reference: Tensor, own: slice, rank: int
) -> None:
    """m and v on the elements of the vector; what stands in the padding is nobody's business."""
    for name, value, exact in zip("mv", got, _moments(adamw, reference), strict=True):
        what = Text(f"The moment {name} of rank {rank}", f"{rank}号进程的矩{name}")
        trial.expect_tensor(value[: len(exact[own])], exact[own], what=what, **CLOSE)
