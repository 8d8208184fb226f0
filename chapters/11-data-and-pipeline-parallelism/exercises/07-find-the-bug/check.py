"""Gates on loss and gradients of whole batches, for equal and unequal micro-batches, with and without tied weights."""

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Trial
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

PRELOAD = ("torch",)
torch.set_num_threads(1)


def check(trial: Trial) -> None:
    _check(trial, [3, 3, 3, 3], tie=False)
    _check(trial, [4, 4, 2], tie=False)
    for i in range(8):
        size, count = trial.random.randint(3, 5), trial.random.randint(2, 4)
        _check(trial, [size] * count + [trial.random.randint(1, size - 1)], tie=i % 4 < 3)
    _check(trial, [7], tie=True)


def _check(trial: Trial, sizes: list[int], tie: bool) -> None:
    torch.manual_seed(trial.random.randrange(2**31))
    vocabulary, width = trial.random.randint(5, 9), trial.random.randint(3, 6)
    stages = _stages(vocabulary, width, trial.random.randint(2, 4))
    tied = [("0.0.weight", f"{len(stages) - 1}.2.weight")] if tie else []
    inputs, targets = torch.randint(vocabulary, (2, sum(sizes)))
    loss, gradients = _whole(stages, inputs, targets)
    got = trial.call("pipeline_step", stages, inputs, targets, sizes, tied)
    trial.expect_close(got[0], loss, rel=1e-4, what=Text("The loss", "损失"))
    trial.expect_equal(sorted(got[1]), sorted(gradients), what=Text("The names of the gradients", "梯度的名称"))
    partner = {a: b for pair in tied for a, b in (pair, pair[::-1])}
    for name in gradients:
        expected = gradients[name] + gradients[partner[name]] if name in partner else gradients[name]
        what = Text(f"The gradient of {name}", f"{name}的梯度")
        trial.expect_tensor(got[1][name], expected, what=what, rtol=1e-4, atol=1e-6)


def _stages(vocabulary: int, width: int, count: int) -> list[nn.Module]:
    """An embedding at the front and a head of the same shape at the back, which starts as its copy."""
    first = nn.Sequential(nn.Embedding(vocabulary, width), nn.Linear(width, width), nn.Tanh())
    between = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(count - 2)]
    last = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, vocabulary, bias=False))
    last[2].weight.data.copy_(first[0].weight.data)
    return [first, *between, last]


def _whole(stages: list[nn.Module], inputs: Tensor, targets: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Mean loss and gradients of one pass over everything, each copy's own."""
    named = {f"{i}.{name}": p for i, stage in enumerate(stages) for name, p in stage.named_parameters()}
    loss = cross_entropy(nn.Sequential(*stages)(inputs), targets)
    return loss.item(), dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
