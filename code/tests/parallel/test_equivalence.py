"""Each technique on 1 to 4 ranks takes the same steps as one process does on the whole batch.

Tolerance: the ranks add the same fp32 numbers in another order. The mean over BATCH examples of a gradient then
moves by a few units in the last place of the largest addend (2^-24 = 6e-8 relative), which for small elements is
more than their own last place: hence 1e-5 of a tensor's largest gradient. Parameters follow the gradients linearly
with SGD. AdamW divides by the root of the second moment, and can turn an error in a nearly zero gradient into a part
of a step: 1e-3 of the way that the learning rate allows. A forgotten mean, micro-batch or decay is far outside.
"""

import pytest
import torch
from sysai.distributed.launch import run
from training import MODELS, OPTIMIZERS, TECHNIQUES, Partly, train, whole_gradients, wrap

STEPS = 3


def largest_errors(ours, reference, optimizer):
    """The largest error of a gradient and of a parameter, in units of the tolerance."""
    gradient_error = max(
        float((mine[name] - theirs[name]).abs().max() / (1e-5 * theirs[name].abs().max()))
        for mine, theirs in zip(ours.gradients, reference.gradients, strict=True)
        for name in theirs
    )
    step = OPTIMIZERS[optimizer][1]["lr"]
    parameter_error = max(
        float((ours.parameters[name] - value).abs().max() / (1e-3 * step * STEPS if optimizer == "adamw" else 1e-6))
        for name, value in reference.parameters.items()
    )
    return gradient_error, parameter_error


def all_of(world, technique, micro_batches):
    return {
        (name, optimizer): train(world, name, technique, optimizer, STEPS, micro_batches)
        for name in MODELS
        for optimizer in OPTIMIZERS
    }


@pytest.fixture(scope="module")
def reference():
    return run(all_of, 1, "single process", 1)[0]


@pytest.mark.parametrize(("world_size", "micro_batches"), [(1, 2), (2, 1), (3, 2), (4, 1)])
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_steps_equal_those_of_one_process(reference, technique, world_size, micro_batches):
    for rank, runs in enumerate(run(all_of, world_size, technique, micro_batches)):
        for (name, optimizer), ours in runs.items():
            assert ours.parameters.keys() == reference[name, optimizer].parameters.keys()
            errors = largest_errors(ours, reference[name, optimizer], optimizer)
            assert max(errors) < 1, (rank, name, optimizer)


def partly_used(world, technique, used_by_first):
    """The averaged gradients of a model of which ranks use different parts, and their plain mean."""
    torch.manual_seed(0)
    plain = Partly(used_by_first)
    torch.manual_seed(0)
    model, optimizer = wrap(Partly(used_by_first), technique, world["world"], "sgd")
    x = torch.ones(2, 3)
    means = {name: torch.zeros_like(p) for name, p in plain.named_parameters()}
    for rank in range(world.size):
        plain.zero_grad()
        plain(x * (rank + 1), rank).square().sum().backward()
        for name, p in plain.named_parameters():
            means[name] += 0 if p.grad is None else p.grad / world.size
    model(x * (world.rank + 1), world.rank).square().sum().backward()
    return whole_gradients(model, optimizer), means


@pytest.mark.parametrize("used_by_first", [False, True])
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_what_a_rank_does_not_use_counts_as_zero(technique, used_by_first):
    for gradients, means in run(partly_used, 3, technique, used_by_first):
        assert means["blocks.1.1.weight"].any() == used_by_first
        for name, mean in means.items():
            torch.testing.assert_close(gradients[name], mean, rtol=1e-5, atol=1e-6)
