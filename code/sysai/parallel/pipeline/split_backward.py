"""The backward pass in two: first the gradient of a stage's input, which others wait for, later those of its weights.

For y = x W^T the chain rule gives two matrix products of the same cost, and only the first is on the way back:

    B:  dL/dx = dL/dy W          W:  dL/dW = (dL/dy)^T x

So B runs autograd's backward pass as ever, except that every linear layer puts its x and dL/dy aside instead of
multiplying them. Everything else that the forward stored is freed at B. Norms, embeddings and other weights cost
little and get their gradients at B, as does a layer whose input needs no gradient. arXiv 2401.10241, figure 1; its
code puts weight gradients aside in the same way, while torch.distributed.pipelining cuts the graph itself, which
serves any operator but keeps all of it until W.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class WeightGradientsLater(TorchFunctionMode):
    """Linear layers that run under ``with WeightGradientsLater() as later:`` leave the gradients of their weights out.

    After the backward pass `later.compute()` adds them to `.grad`, hooks included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: list[_Product] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.linear:
            x, weight, bias = _arguments(*args, **(kwargs or {}))
            if x.requires_grad and weight.requires_grad and weight.is_leaf:
                return _LinearInTwoPasses.apply(x, _Weights(weight, bias), self.products)
        return func(*args, **(kwargs or {}))

    def compute(self) -> None:
        """The products that were put aside, each into its weight's `.grad`."""
        while self.products:
            x, gradient, (weight, bias) = self.products.pop()
            rows = gradient.reshape(-1, weight.shape[0])
            # through autograd, so that whoever waits for this weight's gradient (data parallelism) is told
            torch.autograd.backward(weight, (rows.mT @ x.to(rows.dtype).reshape(-1, weight.shape[1])).to(weight.dtype))
            if bias is not None and bias.requires_grad:
                torch.autograd.backward(bias, rows.sum(0).to(bias.dtype))


class _Weights(NamedTuple):
    """A linear layer's weights; in a tuple autograd does not see them, and lets them be."""

    weight: Tensor
    bias: Tensor | None


class _Product(NamedTuple):
    """The factors of the weights' gradient: x [..., in] and the gradient of the output [..., out]."""

    x: Tensor
    gradient: Tensor
    weights: _Weights


class _LinearInTwoPasses(torch.autograd.Function):
    """x W^T + b, whose backward pass computes the gradient of x and appends the rest to `products`."""

    @staticmethod
    def forward(ctx, x: Tensor, weights: _Weights, products: list[_Product]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weights, ctx.products = weights, products
        return F.linear(x, *weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (x,) = ctx.saved_tensors
        ctx.products.append(_Product(x, gradient, ctx.weights))
        # under autocast the products have the dtype of the output, not of x and the weights
        return (gradient @ ctx.weights.weight.to(gradient.dtype)).to(x.dtype), None, None


def _arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    return input, weight, bias
