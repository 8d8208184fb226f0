"""DistributedDataParallel: what it sends, what it holds, its rules, and torch's class of this name."""

from unittest.mock import patch

import pytest
import torch
from sysai.distributed.launch import RankError, run
from sysai.models.formulas.memory import PLAIN_ADAM
from sysai.parallel import data_parallel
from sysai.parallel.bucket_policy import assign_buckets
from sysai.parallel.data_parallel import DistributedDataParallel
from sysai.parallel.memory import state_memory, step_traffic
from torch import nn
from training import live_bytes, make_model, mlp_loss, train, transformer_loss

BUCKET_BYTES = 1000


class Detours(nn.Module):
    """Some ranks use only some of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x, used):
        for i in used:
            x = self.layers[i](x)
        return self.norm(x) if 9 in used else x


def wrapped(world, name="mlp", **options):
    return DistributedDataParallel(make_model(name, seed=world.rank), world["world"], BUCKET_BYTES, **options)


def sent(model):
    return model.communicator.traffic.bytes_sent.total()


def traffic_of_a_step(world):
    model = wrapped(world)
    x = torch.randn(6, 7)
    before = sent(model)
    with model.no_sync():
        mlp_loss(model, x).backward()
    quiet = sent(model) - before
    mlp_loss(model, x).backward()
    sizes = [sum(p.numel() for p in bucket) for bucket in model._buckets]
    return quiet, sent(model) - before, sizes


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_counted_bytes_equal_the_formula(world_size):
    for quiet, counted, sizes in run(traffic_of_a_step, world_size):
        assert len(sizes) > 1
        assert quiet == 0
        assert counted == sum(step_traffic(size, world_size, 0, PLAIN_ADAM) for size in sizes)


def bytes_held(world):
    before = live_bytes()
    model = wrapped(world)
    optimizer = torch.optim.AdamW(model.parameters())
    mlp_loss(model, torch.randn(6, 7)).backward()
    optimizer.step()
    parameters = sum(p.numel() for p in model.parameters())
    steps = 4 * len(list(model.parameters()))  # AdamW counts its steps for each parameter, in a scalar of 4 bytes
    padding = sum(flat.nbytes for flat in model._flats) - 4 * parameters
    return live_bytes() - before - steps - padding, parameters, padding


@pytest.mark.parametrize("world_size", [1, 3])
def test_bytes_held_equal_the_formula(world_size):
    for held, parameters, padding in run(bytes_held, world_size):
        assert held == state_memory(parameters, world_size, 0, PLAIN_ADAM).total
        assert 0 <= padding <= 4 * 4 * world_size


def start_values(world):
    model = DistributedDataParallel(nn.BatchNorm1d(4), world["world"])
    model.module.running_mean.fill_(world.rank + 1.0)
    model(torch.ones(2, 4))
    trained = model.module.running_mean.clone()
    model.module.running_mean.fill_(world.rank + 1.0)
    model.eval()(torch.ones(2, 4))
    weights = [p.detach().clone() for p in wrapped(world).parameters()]
    return weights, trained, model.module.running_mean


def test_all_start_as_rank_0_whose_buffers_are_taken_in_training():
    (weights, trained, _), *others = run(start_values, 3)
    assert torch.allclose(trained, torch.full((4,), 0.9 * 1 + 0.1 * 1))
    for rank, (their_weights, their_trained, evaluated) in enumerate(others, start=1):
        assert all(map(torch.equal, weights, their_weights))
        assert torch.equal(trained, their_trained)
        assert torch.equal(evaluated, torch.full((4,), rank + 1.0))


def detours(world, routes):
    model = DistributedDataParallel(Detours(), world["world"], bucket_bytes=20)
    x = torch.ones(2, 3) * (world.rank + 1)
    gradients = []
    for used in routes[world.rank]:
        for parameter in model.parameters():
            parameter.grad = None
        model(x, used).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    own = []
    for used in routes[world.rank]:
        leaves = list(model.module.parameters())
        found = torch.autograd.grad(model.module(x, used).sum(), leaves, allow_unused=True)
        own.append([torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)])
    return gradients, own


def test_what_a_rank_does_not_use_counts_as_zero():
    routes = [[[0, 1, 2], [3, 0], [1]], [[2, 3], [0, 3], [2]], [[0], [1, 2, 3], [0, 1, 2, 3]]]
    results = run(detours, 3, routes)
    for step in range(3):
        for i, expected in enumerate(zip(*(own[step] for _, own in results), strict=True)):
            mean = torch.stack(expected).mean(0)
            for gradients, _ in results:
                torch.testing.assert_close(gradients[step][i], mean, rtol=1e-6, atol=1e-7)


def beside_ddp(world, name):
    loss_of = {"mlp": mlp_loss, "transformer": transformer_loss}[name]
    ours, plain = wrapped(world, name), make_model(name)
    theirs = nn.parallel.DistributedDataParallel(plain, bucket_cap_mb=BUCKET_BYTES / 2**20)
    batch = torch.randn(4, 7) + world.rank if name == "mlp" else (torch.randint(23, (3, 8)) + world.rank) % 23
    loss_of(ours, batch).backward()
    loss_of(theirs, batch).backward()
    pairs = zip(ours.module.parameters(), plain.parameters(), strict=True)
    return max(float((p.grad - q.grad).abs().max() / q.grad.abs().max()) for p, q in pairs)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_gradients_equal_those_of_ddp(name, world_size):
    # both divide and add the same numbers; three ranks may be added in another order: some units in the last place
    assert max(run(beside_ddp, world_size, name)) < 1e-6


def undivided(self, parameter):
    self._grad_views[parameter].copy_(parameter.grad)
    parameter.grad = self._grad_views[parameter]


FAULTS = {
    "mean forgotten": lambda rank: patch.object(DistributedDataParallel, "_store", undivided),
    "weights not shared": lambda rank: patch.object(data_parallel, "broadcast_coalesced", lambda *_: None),
    "another order on one rank": lambda rank: patch.object(
        data_parallel, "assign_buckets", lambda *args: assign_buckets(*args)[:: -1 if rank == 1 else 1]
    ),
}


def with_fault(world, fault):
    with FAULTS[fault](world.rank):
        return train(world, "mlp", "data parallel", "sgd", steps=2)


@pytest.mark.parametrize("fault", ["mean forgotten", "weights not shared"])
def test_planted_faults_change_the_gradients(fault):
    (reference,) = run(train, 1, "mlp", "single process", "sgd", steps=2)
    name = "blocks.3.weight"
    expected = reference.gradients[0][name]
    for ours in run(with_fault, 2, fault):
        assert (ours.gradients[0][name] - expected).abs().max() > 0.1 * expected.abs().max()


def test_buckets_in_another_order_on_one_rank_are_an_error_that_says_so():
    with pytest.raises(RankError, match="disagree") as caught:
        run(with_fault, 2, "another order on one rank")
    assert "rank 0 does all_reduce of float32" in str(caught.value)


def test_nothing_to_average_is_an_error():
    def frozen(world):
        DistributedDataParallel(nn.Linear(2, 2).requires_grad_(False), world["world"])

    with pytest.raises(RankError, match="no parameter requires a gradient"):
        run(frozen, 1)


def test_frozen_parameters_are_copied_and_left_alone():
    def probe(world):
        model = make_model("mlp", seed=world.rank)
        model.blocks[0].requires_grad_(False)
        model = DistributedDataParallel(model, world["world"])
        mlp_loss(model, torch.randn(4, 7)).backward()
        return model.module.blocks[0].weight, model.module.blocks[0].weight.grad

    (first, _), (second, gradient) = run(probe, 2)
    assert torch.equal(first, second)
    assert gradient is None


@pytest.mark.parametrize("frozen", [True, False])
def test_a_parameter_frozen_or_unfrozen_after_wrapping_is_an_error(frozen):
    def change(world):
        layers = nn.Sequential(nn.Linear(2, 2).requires_grad_(not frozen), nn.Linear(2, 2))
        model = DistributedDataParallel(layers, world["world"])
        layers[0].requires_grad_(frozen)
        model(torch.ones(1, 2)).sum().backward()

    with pytest.raises(RankError, match="requires_grad of a parameter has changed"):
        run(change, 2)


def penalty(model, x):
    """The squared slope of the model, as WGAN-GP's."""
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return slope.square().sum()


def test_a_penalty_on_the_slope_has_the_mean_gradient():
    def penalized(world):
        torch.manual_seed(0)
        plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        model = DistributedDataParallel(plain, world["world"])
        parts = torch.randn(2, 5, 3)
        penalty(model, parts[world.rank]).backward()
        ours = [p.grad.clone() for p in plain.parameters()]
        plain.zero_grad()
        expected = torch.autograd.grad(
            sum(penalty(plain, x.clone()) for x in parts) / 2, list(plain.parameters()), allow_unused=True
        )
        return [(p, torch.zeros_like(p) if q is None else q) for p, q in zip(ours, expected, strict=True)]

    for pairs in run(penalized, 2):
        for ours, expected in pairs:
            torch.testing.assert_close(ours, expected)


def test_a_graph_of_the_mean_gradient_is_refused():
    def second_order(world):
        model = DistributedDataParallel(nn.Linear(2, 1), world["world"])
        model(torch.ones(1, 2)).square().sum().backward(create_graph=True)

    with pytest.raises(RankError, match="the mean gradient has no graph"):
        run(second_order, 1)


@pytest.mark.parametrize("forward_inside", [True, False])
def test_where_the_backward_pass_stands_decides_about_no_sync(forward_inside):
    def mixed(world):
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Linear(2, 1, bias=False), world["world"])
        x = torch.full((1, 2), world.rank + 1.0)
        if forward_inside:
            with model.no_sync():
                y = model(x)
            y.sum().backward()
        else:
            y = model(x)
            with model.no_sync():
                y.sum().backward()
        return model.module.weight.grad.tolist()

    assert run(mixed, 2) == ([[[1.5, 1.5]]] * 2 if forward_inside else [[[1.0, 1.0]], [[2.0, 2.0]]])
