"""Weights that change between calls are never stale, however they are changed; frozen ones are packed, and say so."""

import copy

import pytest
import sysai.compiler
import torch
from sysai.compiler import backend
from torch import nn

WAYS = {
    "package": lambda module, x: sysai.compiler.compile(module, (x,)),
    "torch.compile": lambda module, x: torch.compile(module, backend="sysai"),
}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    backend.statistics.reset()
    torch.manual_seed(0)


class Net(nn.Module):
    """Weights of all sorts: of products, convolutions, norms, tables; buffers, and tensors that are neither."""

    def __init__(self):
        super().__init__()
        self.table, self.linear, self.wide = nn.Embedding(7, 20), nn.Linear(20, 40), nn.Linear(40, 20, bias=False)
        self.convolution, self.norm = nn.Conv1d(2, 3, 3), nn.BatchNorm1d(20)
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(1))])
        self.register_buffer("shift", torch.randn(20))
        self.register_buffer("mask", torch.rand(20) > 0.3, persistent=False)
        self.plain, self.listed = torch.randn(20), [torch.randn(20)]

    def forward(self, x):
        y = self.norm(self.wide(self.linear(self.table(x)).relu())) * self.scales[0] + self.shift
        y = torch.where(self.mask, y, self.plain) + self.listed[0]
        return y + (self.wide.weight.T * 2)[:1, :20] + self.shift.sum(), self.linear.weight


def write_through_data(module):
    for tensor in [*module.parameters(), *module.buffers(), module.plain, module.listed[0]]:
        tensor.data.mul_(2) if tensor.is_floating_point() else tensor.data.logical_not_()


def give_other_memory(module):
    for tensor in module.parameters():
        tensor.data = torch.randn_like(tensor)


def write_through_numpy(module):
    for tensor in module.parameters():
        tensor.detach().numpy()[...] += 1


def train(module):
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(module.parameters(), lr=0.1, foreach=True).step()


def replace_attributes(module):
    module.linear.weight = nn.Parameter(torch.randn(40, 20))
    module.scales[0] = nn.Parameter(torch.rand(1))
    module.shift, module.plain = torch.randn(20), torch.randn(20)


def merge_lora(module):
    for linear in (module.linear, module.wide):
        out, size = linear.weight.shape
        linear.weight.data += torch.randn(out, 2) @ torch.randn(2, size)


def swap(module):
    torch.utils.swap_tensors(module.linear.weight, nn.Parameter(torch.randn(40, 20)))
    weight = module.wide.weight
    weight.data = torch.randn(20, 40)
    weight.untyped_storage().resize_(0)
    weight.untyped_storage().resize_(weight.nbytes)
    weight.data.fill_(0.5)


CHANGES = {
    "data": write_through_data, "other memory": give_other_memory, "numpy": write_through_numpy, "optimizer": train,
    "attributes": replace_attributes, "LoRA": merge_lora, "swap": swap,
    "foreach": lambda module: torch._foreach_mul_([p.data for p in module.parameters()], 3),
    "copy_": lambda module: [p.copy_(torch.randn_like(p)) for p in module.parameters()],
    "averaged": lambda module: torch._foreach_lerp_(list(module.parameters()), list(Net().parameters()), 0.3),
    "loaded": lambda module: module.load_state_dict(Net().state_dict()),
    "assigned": lambda module: module.load_state_dict(Net().state_dict(), assign=True),
    "modules": lambda module: [setattr(module, k, getattr(Net().eval(), k)) for k in ("linear", "norm", "table")],
    "dtypes": lambda module: module.half().float(),
    "initialized": lambda module: module.apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else 0),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_changes_are_seen(way):
    module, tokens = Net().eval(), torch.randint(0, 7, (9,))
    with torch.no_grad():
        compiled = WAYS[way](module, tokens)
        torch.testing.assert_close(compiled(tokens), module(tokens), rtol=1e-4, atol=1e-4)
        for name, change in CHANGES.items():
            change(module)
            torch.testing.assert_close(
                compiled(tokens), module(tokens), rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(30, 50), (1, 30)), (nn.Linear(30, 50), (40, 30)), (nn.Conv2d(3, 20, 3, padding=1), (2, 3, 7, 9)),
        (nn.Conv2d(8, 8, 3, 2, groups=4), (1, 8, 9, 9)), (nn.LayerNorm(30), (4, 30)), (nn.BatchNorm2d(3), (2, 3, 4, 4)),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU()), (1, 3, 4, 4)),
    ],
    ids=str,
)  # fmt: skip
def test_layers_read_their_weights_at_each_call(way, module, shape):
    module, x = copy.deepcopy(module).eval(), torch.randn(shape)
    with torch.no_grad():
        compiled = WAYS[way](module, x)
        for _ in range(2):
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)
            for tensor in module.state_dict().values():
                tensor.data.mul_(2)
    assert len(backend.statistics.compiled) == (way == "torch.compile")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 20), nn.Linear(20, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.table(tokens))


def test_tied_weights_that_are_untied():
    module, tokens = Tied().eval(), torch.tensor([1, 3])
    compiled, by_torch = (way(module, tokens) for way in WAYS.values())
    with torch.no_grad():
        for change in (lambda: module.table.weight.data.mul_(2), lambda: None):
            change()
            for run in (compiled, by_torch):
                torch.testing.assert_close(run(tokens), module(tokens), rtol=1e-4, atol=1e-4)
        module.head.weight = nn.Parameter(torch.randn(7, 20))
        torch.testing.assert_close(by_torch(tokens), module(tokens), rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match=r"\w+\.weight and \w+\.weight are one tensor.*compile it"):
            compiled(tokens)


def test_weights_of_another_shape_or_dtype_are_refused():
    module, x = nn.Linear(20, 40).eval(), torch.randn(3, 20)
    compiled = sysai.compiler.compile(module, (x,))
    for weight in (torch.randn(41, 20), torch.randn(40, 20, dtype=torch.float64)):
        module.weight = nn.Parameter(weight)
        with pytest.raises(ValueError, match="weight"):
            compiled(x)


def test_frozen_weights_are_packed_and_stay_as_they_were():
    module, x = nn.Sequential(nn.Linear(30, 50), nn.BatchNorm1d(50)).eval(), torch.randn(20, 30)
    with torch.no_grad():
        wanted = module(x)
        frozen, live = (sysai.compiler.compile(module, (x,), freeze=freeze) for freeze in (True, False))
        assert any(".packed" in name for name in frozen.plan.constants)
        assert not live.plan.constants
        assert len(frozen.graph.nodes) < len(live.graph.nodes)  # what depends on weights only is folded
        module[0].weight.mul_(2)
        torch.testing.assert_close(frozen(x), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(live(x), module(x), rtol=1e-4, atol=1e-4)


def test_a_frozen_graph_of_torch_compile_says_that_weights_have_changed():
    module, x = nn.Linear(30, 50), torch.randn(3, 30)
    compiled = torch.compile(module, backend="sysai", options={"freeze": True})
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)
        assert any(".packed" in name for name in backend.statistics.compiled[0].plan.constants)
        for change in (lambda: module.weight.mul_(2), lambda: setattr(module.bias, "data", torch.zeros(50))):
            change()
            with pytest.raises(RuntimeError, match="frozen graph have changed"):
                compiled(x)
            torch._dynamo.reset()
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)


def test_unknown_options_are_refused():
    with torch.no_grad(), pytest.raises(Exception, match="no option frieze"):
        torch.compile(nn.Linear(3, 3), backend="sysai", options={"frieze": True})(torch.randn(1, 3))
