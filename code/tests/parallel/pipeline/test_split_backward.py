"""B and W together are autograd's backward; B leaves the weights out, and frees what W does not need."""

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.parallel.pipeline.split_backward import WeightGradientsLater
from torch import nn
from torch.nn import functional as F


class Shared(nn.Module):
    """One matrix used twice, once as it is and once as a linear layer's weight."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size, size)

    def forward(self, x):
        return F.linear(F.gelu(self.linear(x)), self.linear.weight) @ self.linear.weight


def in_two_passes(model, x, gradient):
    with WeightGradientsLater() as later:
        y = model(x)
    torch.autograd.backward(y, gradient)
    return later


def models(size):
    return {
        "linear": nn.Linear(size, size),
        "mlp": nn.Sequential(nn.Linear(size, 3), nn.GELU(), nn.LayerNorm(3), nn.Linear(3, size, bias=False)),
        "shared": Shared(size),
        "frozen": nn.Sequential(nn.Linear(size, size).requires_grad_(False), nn.Linear(size, size)),
    }


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(models(1))),
    size=st.integers(1, 5),
    shape=st.lists(st.integers(1, 4), max_size=3),
    input_gradient=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradients_equal_autograds(name, size, shape, input_gradient, seed):
    torch.manual_seed(seed)
    model = models(size)[name].double()
    x = torch.randn(*shape, size, dtype=torch.double, requires_grad=input_gradient)
    gradient = torch.randn_like(x)
    model(x).backward(gradient)
    expected = [p.grad for p in model.parameters()] + [x.grad]
    model.zero_grad()
    x.grad = None
    in_two_passes(model, x, gradient).compute()
    for ours, theirs in zip([p.grad for p in model.parameters()] + [x.grad], expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_under_autocast_equal_autograds_to_the_bit():
    torch.manual_seed(0)
    model = models(4)["mlp"]
    x, gradient = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        model(x).backward(gradient)
    expected = [p.grad for p in model.parameters()] + [x.grad]
    model.zero_grad()
    x.grad = None
    with WeightGradientsLater() as later, torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    y.backward(gradient)
    later.compute()
    for ours, theirs in zip([p.grad for p in model.parameters()] + [x.grad], expected, strict=True):
        assert ours.dtype == theirs.dtype == torch.float32
        assert torch.equal(ours, theirs)


def test_weights_wait_for_their_pass_and_others_do_not():
    model = models(4)["mlp"]
    x = torch.randn(2, 4, requires_grad=True)
    told = []
    model[0].weight.register_post_accumulate_grad_hook(told.append)
    later = in_two_passes(model, x, torch.ones(2, 4))
    assert x.grad is not None
    assert model[2].weight.grad is not None
    assert model[0].weight.grad is model[0].bias.grad is model[3].weight.grad is None
    assert not told
    later.compute()
    assert model[0].bias.grad is not None
    assert model[3].weight.grad is not None
    assert [t is model[0].weight for t in told] == [True]


def test_gradients_accumulate_over_microbatches():
    model, x = nn.Linear(3, 3), torch.randn(6, 3, requires_grad=True)
    for part in x.chunk(3):
        in_two_passes(model, part, torch.ones(2, 3)).compute()
    torch.testing.assert_close(model.weight.grad, x.detach().sum(0).expand(3, 3))


def test_b_frees_all_but_what_the_products_need():
    kept = {}

    def watch(name):
        return lambda module, args, output: kept.__setitem__(name, weakref.ref(output))

    model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1), nn.Tanh(), nn.Linear(4, 4))
    for i, layer in enumerate(model):
        layer.register_forward_hook(watch(i))
    later = in_two_passes(model, torch.randn(2, 4, requires_grad=True), torch.ones(2, 4))
    alive = [i for i, reference in kept.items() if reference() is not None]
    assert alive == [2]  # the last layer's input; the softmax's output went with the graph
    later.compute()
    assert kept[2]() is None


def test_without_the_mode_nothing_changes():
    model = nn.Linear(2, 2)
    with WeightGradientsLater():
        pass
    model(torch.ones(1, 2)).sum().backward()
    assert model.weight.grad is not None


@pytest.mark.parametrize("keyword", [False, True])
def test_arguments_by_name_are_found(keyword):
    weight = torch.randn(2, 3, requires_grad=True)
    x = torch.randn(4, 3, requires_grad=True)
    with WeightGradientsLater() as later:
        y = F.linear(input=x, weight=weight) if keyword else F.linear(x, weight)
    y.sum().backward()
    assert weight.grad is None
    later.compute()
    torch.testing.assert_close(weight.grad, x.detach().sum(0).expand(2, 3))
