"""Random modules of torch's functions, for hypothesis: with masks, indices, moved and cut tensors."""

import math

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

WIDTH = 6
UNARY = (
    torch.tanh, torch.sigmoid, F.gelu, F.silu, F.relu, torch.sin, torch.abs, torch.neg, torch.floor, torch.erf,
    lambda x: F.gelu(x, approximate="tanh"), lambda x: torch.rsqrt(x * x + 1), lambda x: torch.exp(-x.abs()),
    lambda x: x.clamp(-1, 0.5), lambda x: F.leaky_relu(x, 0.1), lambda x: 1 / (x * x + 1),
    lambda x: x.to(torch.float64),
)  # fmt: skip
BINARY = (
    torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum, lambda x, y: x / (y * y + 1),
    lambda x, y: torch.where(x < y, x, y * 2),
)  # fmt: skip
ALONG = (
    torch.softmax, torch.log_softmax, torch.sum, torch.mean, torch.amax, torch.amin, torch.var_mean,
    lambda x, axis: x.sum(axis, keepdim=True), lambda x, axis: x - x.mean(axis, keepdim=True),
    lambda x, axis: x.amax(axis, keepdim=True), lambda x, axis: x.flip(axis), lambda x, axis: x.unsqueeze(axis),
    lambda x, axis: torch.cat([x, x * 2], axis), lambda x, axis: torch.stack([x, x], axis),
    lambda x, axis: x.narrow(axis, 0, 1), lambda x, axis: x.select(axis, -1), lambda x, axis: x.transpose(axis, -1),
    lambda x, axis: x.transpose(0, axis).contiguous(), lambda x, axis: x.cumsum(axis),
)  # fmt: skip
MOVED = (
    torch.flatten, lambda x: x[..., ::2], lambda x: x[..., 1:], lambda x: x.reshape(-1), lambda x: x[None],
    lambda x: F.pad(x, (1, 2)), lambda x: x.expand(2, *x.shape), lambda x: x.sum(), lambda x: x.amax(),
)  # fmt: skip
LAST = (
    lambda x: F.layer_norm(x, x.shape[-1:]), lambda x: F.rms_norm(x, x.shape[-1:]),
    lambda x: torch.tril(x) if x.dim() > 1 else x, lambda x: x @ x.transpose(-1, -2) if x.dim() > 1 else x,
)  # fmt: skip
INTEGERS = (
    lambda i: i + 1, lambda i: i * 2, lambda i: i // 2, lambda i: i % 3, lambda i: i - 5, lambda i: i.abs(),
    lambda i: i.float(), lambda i: i.sum(-1), lambda i: i.amax(0), lambda i: i.to(torch.int32).to(torch.int64),
    lambda i: torch.where(i < 2, i, 0),
)  # fmt: skip
TRUTHS = (
    lambda m: ~m, lambda m: m.float(), lambda m: m.sum(-1), lambda m: m.any(-1), lambda m: m.all(0),
    lambda m: m | ~m, lambda m: m.to(torch.int64),
)  # fmt: skip


class Module(nn.Module):
    """Steps, each a function of earlier values; the last values are results."""

    def __init__(self, steps, results: int) -> None:
        super().__init__()
        self.steps, self.results = steps, results
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator) / math.sqrt(WIDTH))
        self.table = nn.Parameter(torch.randn(4, WIDTH, generator=generator))

    def forward(self, x, i, m):
        values = [x, i, m]
        for function, operands in self.steps:
            values.append(function(self, *(values[place] for place in operands)))
        return tuple(values[-self.results :])


@st.composite
def modules(draw, most: int = 6) -> Module:
    """A module of x: float32[B, T, WIDTH], i: int64[B, T] of 0 to 3, and m: bool[B, T, WIDTH].

    Steps are tried on examples, so that their operands fit.
    """
    examples = [x.clone() for x in inputs_for(3, 4)]
    module = Module([], 1)
    for _ in range(draw(st.integers(1, most))):
        function, operands = _step(draw, examples)
        try:
            value = function(module, *(examples[place] for place in operands))
        except (RuntimeError, IndexError, TypeError, NotImplementedError):
            continue
        if isinstance(value, torch.Tensor) and value.numel() < 2000 and value.dim() < 5:
            module.steps.append((function, operands))
            examples.append(value.detach())
    module.results = draw(st.integers(1, max(1, min(2, len(module.steps)))))
    return module.eval()


def _step(draw, examples):
    place = draw(st.sampled_from(range(len(examples))))
    x, axis = examples[place], draw(st.integers(-1, 2))

    def alone(functions):
        function = draw(st.sampled_from(functions))
        return lambda _, x: function(x)

    if x.dtype == torch.int64:
        if draw(st.booleans()):
            return alone(INTEGERS), (place,)
        return lambda self, i: F.embedding(i % 4, self.table), (place,)
    if x.dtype == torch.bool:
        floats = [n for n, value in enumerate(examples) if value.dtype.is_floating_point]
        if draw(st.booleans()):
            return alone(TRUTHS), (place,)
        return lambda _, m, x: x.masked_fill(m, -1.5), (place, draw(st.sampled_from(floats)))
    way = draw(
        st.sampled_from(("alone", "alone", "two", "two", "along", "along", "moved", "last", "linear", "compare"))
    )
    alike = [n for n, value in enumerate(examples) if value.dtype == x.dtype]
    match way:
        case "alone":
            return alone(UNARY), (place,)
        case "moved":
            return alone(MOVED), (place,)
        case "last":
            return alone(LAST), (place,)
        case "along":
            function = draw(st.sampled_from(ALONG))
            return lambda _, x: function(x, axis), (place,)
        case "linear":
            return lambda self, x: F.linear(x, self.weight), (place,)
        case "compare":
            return lambda _, x, y: x < y, (place, draw(st.sampled_from(alike)))
    function = draw(st.sampled_from(BINARY))
    return lambda _, x, y: function(x, y), (place, draw(st.sampled_from(alike)))


def inputs_for(B: int, T: int, seed: int = 0, special: bool = False, moved: bool = False) -> tuple[torch.Tensor, ...]:
    """Inputs; `special` puts NaN and infinities among the floats, `moved` makes tensors that are not contiguous."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(T, B, WIDTH, generator=generator) if moved else torch.randn(B, T, WIDTH, generator=generator)
    x = x.transpose(0, 1) if moved else x
    if special:
        numbers = torch.tensor([math.nan, math.inf, -math.inf, -0.0])
        chosen = numbers[torch.randint(0, 4, x.shape, generator=generator)]
        x = torch.where(torch.rand(x.shape, generator=generator) < 0.1, chosen, x)
    i = torch.randint(0, 4, (B, T * 2 if moved else T), generator=generator)
    m = torch.rand(B, T, WIDTH, generator=generator) < 0.5
    return x, i[:, ::2] if moved else i, m
