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
    cut = Hint(
        (min(size, rank * shard), min(size, (rank + 1) * shard)),
        Text(
            "You cut the shard off at the end of the vector. Collectives want parts of equal length: let it reach into "
            "the padding.",
            "你在向量末尾处把分片截短了。集合通信要求各段等长，应让它伸进填充里。",
        ),
    )
    down = Hint(
        (rank * (size // ranks), (rank + 1) * (size // ranks)),
        Text(
            "Rounded down, the shards together are shorter than the vector: its last elements belong to nobody.",
            "向下取整，所有分片加起来比向量短：最后几个元素没有人管。",
        ),
    )
    trial.expect_equal(got, (rank * shard, (rank + 1) * shard), hints=[cut, down])


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
        before = [weights, *_moments(adamw, reference)]
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
        _check_moments(trial, got[1], adamw, reference, own, gradients, rank, before, hyper)
        _check_weights(trial, got[0], group, before[0], adamw.state[reference], step, hyper)
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
    none = Hint(
        0,
        Text(
            "This rank used its own gradient alone. Its shard's update needs the mean over all ranks.",
            "这个进程只用了自己的梯度。它那个分片的更新，需要所有进程的平均。",
        ),
    )
    calls = Text("Calls of reduce_scatter", "调用reduce_scatter的次数")
    trial.expect_equal(group.reductions, 1, what=calls, hints=[none])
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


def _check_moments(trial, got, adamw, reference, own, gradients, rank, before, hyper) -> None:
    """m and v on the elements of the vector; what stands in the padding is nobody's business."""
    count = len(reference[own])
    mean, (w, m, v) = gradients.mean(0), before
    faults = [
        (
            gradients.sum(0),
            "This is the moment of the sum over ranks. A batch's gradient is their mean; Adam divides the factor out "
            "of the weights again, so that nothing else would show it.",
            "这是各进程之和的矩。整批的梯度是它们的平均；Adam会把这个倍数从权重里约掉，所以别处看不出来。",
        ),
        (
            gradients[rank],
            "This is the moment of this rank's own gradient.",
            "这是本进程自己梯度的矩。",
        ),
        (
            mean + hyper["weight_decay"] * w,
            "The weight decay went into the gradient, as in Adam with L2 regularization. AdamW takes it off the "
            "weights directly.",
            "权重衰减加进了梯度，那是带L2正则的Adam。AdamW直接从权重里扣。",
        ),
    ]
    for name, value, past, beta, power in zip("mv", got, (m, v), (hyper["beta1"], hyper["beta2"]), (1, 2), strict=True):
        hints = [
            Hint((beta * past + (1 - beta) * wrong**power)[own], Text(en, zh))
            for wrong, en, zh in faults
            if not torch.allclose(wrong[own], mean[own])
        ]
        exact = adamw.state[reference]["exp_avg" if power == 1 else "exp_avg_sq"]
        what = Text(f"The moment {name} of rank {rank}", f"{rank}号进程的矩{name}")
        trial.expect_tensor(value[:count], exact[own], what=what, hints=hints, **CLOSE)


def _check_weights(trial, got, group, before, state, step, hyper) -> None:
    m, v, eps, lr = state["exp_avg"], state["exp_avg_sq"], hyper["eps"], hyper["lr"]
    kept = (1 - lr * hyper["weight_decay"]) * before
    m_hat, v_hat = m / (1 - hyper["beta1"] ** step), v / (1 - hyper["beta2"] ** step)

    def with_own(values: Tensor) -> Tensor:
        own = slice(group.rank * group.shard, (group.rank + 1) * group.shard)
        weights = group.weights.clone()
        weights[own] = values[own]
        return weights

    hints = [
        Hint(
            lambda weights: list(weights.shape) == [group.shard * group.ranks] != [group.size],
            Text(
                "These are the weights with their padding. Cut them to the size that came in.",
                "这里带着填充。应截到输入时的长度。",
            ),
        ),
        Hint(
            lambda weights: list(weights.shape) == [group.shard] != [group.size],
            Text(
                "This is one shard. Every rank needs all new weights for its next forward pass: return what was "
                "gathered.",
                "这只是一个分片。下一次前向传播时，每个进程都需要全部新权重：应返回收集到的结果。",
            ),
        ),
        Hint(
            with_own(kept - lr * m / (v.sqrt() + eps)),
            Text(
                "The moments are not corrected for having begun at zero: divide them by 1 - beta**step.",
                "没有修正矩从零开始造成的偏差：应除以1 - beta**step。",
            ),
        ),
        Hint(
            with_own(kept - lr * m_hat / (v_hat + eps).sqrt()),
            Text("eps stands under the root. It is added to the root.", "eps放到根号里去了，它应加在根号外面。"),
        ),
        Hint(
            with_own(before - lr * m_hat / (v_hat.sqrt() + eps)), Text("The weight decay is missing.", "漏了权重衰减。")
        ),
    ]
    what = Text(f"Weights after step {step}", f"第{step}步之后的权重")
    trial.expect_tensor(got, group.weights, what=what, hints=hints, rtol=1e-4, atol=1e-6)
