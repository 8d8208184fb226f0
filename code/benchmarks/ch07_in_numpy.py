"""The workloads of `ch07_compiler.py` in functions that numpy and JAX share, for both to run beside the others.

Each function takes the module (`numpy` or `jax.numpy`) first, then arrays; those made from a torch module have its
weights. The compiler's own tests compare with torch; here `ch07_compiler.py` checks before it takes times.
"""

import math
from collections.abc import Callable

from sysai.models.transformer import TransformerBlock
from torch import Tensor, nn


def array(tensor: Tensor):
    """A parameter as a numpy array."""
    return tensor.detach().numpy()


def softmax(np_, x):
    """Along the last axis."""
    e = np_.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(norm: nn.LayerNorm) -> Callable:
    """torch's, with its weights."""
    weight, shift, eps = array(norm.weight), array(norm.bias), norm.eps

    def run(np_, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np_.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + shift

    return run


def rms_norm(weight: Tensor, eps: float) -> Callable:
    """Without a mean."""
    scale = array(weight)
    return lambda np_, x: x / np_.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def residual_rms_norm(module: nn.Module) -> Callable:
    """A sum, and its norm."""
    norm = rms_norm(module.norm.weight, 2**-23)

    def run(np_, x, residual):
        total = x + residual
        return total, norm(np_, total)

    return run


def linear(layer: nn.Linear) -> Callable:
    """Without a bias."""
    weight = array(layer.weight)
    return lambda np_, x: np_.matmul(x, weight.T)


def swiglu(module: nn.Module) -> Callable:
    """A gated MLP."""
    gate, up, down = (linear(layer) for layer in (module.gate, module.up, module.down))

    def run(np_, x):
        gated = gate(np_, x)
        return down(np_, gated / (1 + np_.exp(-gated)) * up(np_, x))

    return run


def attention(np_, q, k, v):
    """Causal, with grouped queries: [B, H, T, K], twice [B, N, T, K], to [B, H, T, K]."""
    (B, H, T, K), N = q.shape, k.shape[1]
    grouped = (q * np_.float32(K**-0.5)).reshape(B, N, H // N, T, K)
    scores = np_.matmul(grouped, k[:, :, None].swapaxes(-1, -2))
    scores = np_.where(np_.tril(np_.ones((T, T), bool)), scores, np_.float32(-math.inf))
    return np_.matmul(softmax(np_, scores), v[:, :, None]).reshape(q.shape)


def block(module: TransformerBlock, cos: Tensor, sin: Tensor) -> Callable:
    """A layer of a Llama; `cos` and `sin` [P, K/2] of the positions."""
    layer = module.attention
    query, key, value, output = (linear(part) for part in (layer.query, layer.key, layer.value, layer.output))
    first, second = (rms_norm(norm.weight, norm.eps) for norm in (module.attention_norm, module.mlp_norm))
    mlp, cosines, sines = swiglu(module.mlp), array(cos), array(sin)

    def heads(np_, x):
        return x.reshape(*x.shape[:2], -1, layer.head_dim).swapaxes(1, 2)

    def rotate(np_, x):
        (x1, x2), count = np_.split(x, 2, -1), x.shape[2]
        c, s = cosines[:count], sines[:count]
        return np_.concatenate([x1 * c - x2 * s, x2 * c + x1 * s], -1)

    def run(np_, x):
        normed = first(np_, x)
        q, k, v = (heads(np_, part(np_, normed)) for part in (query, key, value))
        mixed = attention(np_, rotate(np_, q), rotate(np_, k), v)
        x = x + output(np_, mixed.swapaxes(1, 2).reshape(*x.shape[:2], -1))
        return x + mlp(np_, second(np_, x))

    return run
