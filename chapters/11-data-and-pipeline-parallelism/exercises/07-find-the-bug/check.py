"""Gates on loss and gradients of whole batches, for equal and unequal micro-batches, with and without tied weights."""

import torch
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

PRELOAD = ("torch",)
torch.set_num_threads(1)
FACTOR = Text(
    "Each micro-batch's mean loss counts in full here, so that everything is the sum of means. The mean over the "
    "batch is wanted; AdamW divides the factor out again and hides it, SGD and clipping do not.",
    "这里每个微批次的平均损失都按一整份计，结果是各平均值之和。要的是整个批次的平均；"
    "AdamW会把这个倍数约掉，看不出来，SGD和梯度裁剪则不会。",
)
SHARE = Text(
    "Every micro-batch counts the same here, also the smaller ones. In the batch's mean each sample counts the "
    "same: a micro-batch of b samples has the share b / B.",
    "这里每个微批次的分量都一样，小的也不例外。对整个批次求平均，是每个样本的分量一样：有b个样本的微批次占b / B。",
)
TIED = Text(
    "This is the gradient of one copy alone. The parameter is used in two places, so its gradient is the sum of "
    "both; only then do the copies stay equal.",
    "这只是一份副本的梯度。这个参数用在两处，它的梯度是两处之和；只有这样，两份副本才会一直相等。",
)


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
    trial.expect(
        type(got) is tuple and len(got) == 2 and type(got[1]) is dict,
        Text("Return a tuple: the loss, and the dict of gradients.", "应返回元组：损失，以及梯度的字典。"),
    )
    parts = [_whole(stages, x, y) for x, y in zip(inputs.split(sizes), targets.split(sizes), strict=True)]
    _check_loss(trial, got[0], loss, [part for part, _ in parts])
    trial.expect(
        got[1].keys() == gradients.keys(),
        Text(f"The gradients must be those of {', '.join(gradients)}.", f"梯度应当属于{'、'.join(gradients)}。"),
    )
    partner = {a: b for pair in tied for a, b in (pair, pair[::-1])}
    for name in gradients:
        expected = gradients[name] + gradients[partner[name]] if name in partner else gradients[name]
        hints = _gradient_hints(name, partner.get(name), gradients, [part for _, part in parts])
        what = Text(f"The gradient of {name}", f"{name}的梯度")
        trial.expect_tensor(got[1][name], expected, what=what, hints=hints, rtol=1e-4, atol=1e-6)


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


def _check_loss(trial: Trial, got: object, loss: float, parts: list[float]) -> None:
    hints = [Hint(sum(parts), FACTOR), Hint(sum(parts) / len(parts), SHARE)]
    what = Text("The loss", "损失")
    trial.expect_close(got, loss, rel=1e-4, what=what, hints=hints if len(parts) > 1 else [])


def _gradient_hints(
    name: str, partner: str | None, gradients: dict[str, Tensor], parts: list[dict[str, Tensor]]
) -> list[Hint]:
    names, hints = [name], []
    if partner:
        names.append(partner)
        averaged = Hint(
            (gradients[name] + gradients[partner]) / 2,
            Text(
                "The two copies' gradients were averaged. They are parts of one gradient: add them.",
                "这里对两份副本的梯度取了平均。它们是同一个梯度的两部分，应当相加。",
            ),
        )
        hints += [Hint(gradients[name], TIED), Hint(gradients[partner], TIED), averaged]
    total = sum(part[n] for part in parts for n in names)
    if len(parts) > 1:
        hints += [Hint(total, FACTOR), Hint(sum(part[name] for part in parts), FACTOR)]
        hints += [Hint(total / len(parts), SHARE), Hint(sum(part[name] for part in parts) / len(parts), SHARE)]
    return hints
