"""Chapter 07: what the compiler makes, beside eager torch, torch.compile, numpy and JAX (where it is installed).

Each pair runs interleaved in one process (ours, theirs, theirs, ours); the ratio is the result: above 1 ours is
faster. Results are allocated anew at each call, as each framework does it; ours and torch.compile keep the memory of
results that the caller has dropped, or not, as they are.
The third column is the fraction that ours reaches of the bandwidth or FLOP rate measured on this machine
(above 100% where the data stays in a cache).

    python code/benchmarks/ch07_compiler.py [--rounds 7] [--only chain softmax ...] [--smollm2]
"""

import argparse
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sysai.compiler
import sysai.compiler.backend
import torch
from sysai.core.benchmark import compare
from sysai.hardware.rates import measure_matmul_rate, measure_read_bandwidth
from torch import Tensor, nn
from torch.nn import functional as F

try:
    import jax
    from jax import numpy as jnp
except ImportError:
    jax = None


@dataclass(frozen=True)
class Workload:
    """A module with inputs, what it must move or compute, and the same in numpy's functions (for numpy and JAX)."""

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    megabytes: float = 0.0
    gigaflops: float = 0.0
    array: Callable | None = None


class Chain(nn.Module):
    """Bias, GELU, residual, LayerNorm."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias, self.norm = nn.Parameter(torch.randn(size)), nn.LayerNorm(size)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[M, N] and [M, N] to [M, N]."""
        return self.norm(F.gelu(x + self.bias, approximate="tanh") + residual)


class ResidualRMSNorm(nn.Module):
    """What stands between two parts of a transformer's layer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(size)

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """The sum, and its norm."""
        total = x + residual
        return total, self.norm(total)


class SwiGLU(nn.Module):
    """A gated MLP."""

    def __init__(self, size: int, wide: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = (
            nn.Linear(a, b, bias=False) for a, b in ((size, wide), (size, wide), (wide, size))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[M, D] to [M, D]."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Attention(nn.Module):
    """The attention of one block, causal, with grouped queries."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[B, H, T, K], twice [B, N, T, K], to [B, H, T, K]."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(*inputs)


def array_matmul(linear: nn.Linear) -> Callable:
    """A linear layer in numpy's functions."""
    weight = linear.weight.detach().numpy()
    return lambda np_, x: np_.matmul(x, weight.T)


def workloads() -> list[Workload]:
    """The parts of transformers that the chapter looks at, float32."""
    x, r = torch.randn(4096, 1024), torch.randn(4096, 1024)
    square, mb = torch.randn(4096, 4096), 4 * 4096 * 1024 / 1e6
    chain = Chain(1024)
    bias, weight, shift = (p.detach().numpy() for p in (chain.bias, chain.norm.weight, chain.norm.bias))

    def array_chain(np_, x, r):
        h = x + bias
        h = 0.5 * h * (1 + np_.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) + r
        centred = h - h.mean(-1, keepdims=True)
        return centred / np_.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + shift

    def array_softmax(np_, x):
        e = np_.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    found = [
        Workload("chain", chain, (x, r), 3 * mb, array=array_chain),
        Workload("softmax", Apply(lambda x: F.softmax(x, -1)), (square,), 8 * mb, array=array_softmax),
        Workload("gelu", Apply(F.gelu), (x,), 2 * mb),
        Workload("layer norm", nn.LayerNorm(1024), (x,), 2 * mb),
        Workload("rms norm + residual", ResidualRMSNorm(1024), (x, r), 4 * mb),
        Workload("swiglu mlp", SwiGLU(576, 1536), (torch.randn(256, 576),), gigaflops=6 * 256 * 576 * 1536 / 1e9),
        Workload(
            "attention",
            Attention(),
            (torch.randn(1, 9, 256, 64), torch.randn(1, 3, 256, 64), torch.randn(1, 3, 256, 64)),
            gigaflops=4 * 9 * 256 * 256 * 64 / 1e9,
        ),
    ]
    for m, k, n in ((1, 576, 1536), (8, 576, 1536), (64, 576, 1536), (256, 576, 1536), (1024, 1024, 1024)):
        linear, inputs = nn.Linear(k, n, bias=False), (torch.randn(m, k),)
        small = m <= 8
        found.append(
            Workload(
                f"matmul {m}x{k}x{n}",
                linear,
                inputs,
                megabytes=4 * (k * n + m * k + m * n) / 1e6 if small else 0.0,
                gigaflops=0.0 if small else 2 * m * k * n / 1e9,
                array=array_matmul(linear),
            )
        )
    return found


def rivals(workload: Workload) -> dict[str, Callable[[], object]]:
    """The same computation by others."""
    module, inputs = workload.module, workload.inputs
    inductor = torch.compile(module)
    found: dict[str, Callable] = {"eager": lambda: module(*inputs), "torch.compile": lambda: inductor(*inputs)}
    if workload.array is not None:
        arrays = [tensor.numpy() for tensor in inputs]
        found["numpy"] = lambda: workload.array(np, *arrays)
        if jax is not None:
            jitted = jax.jit(lambda *x: workload.array(jnp, *x))
            on_device = [jnp.asarray(array) for array in arrays]
            found["jax"] = lambda: jitted(*on_device).block_until_ready()
    return found


def measure(workload: Workload, rounds: int, bandwidth: float, rate: float) -> dict[str, float]:
    """Print a line; return by how much ours is faster than each of the others."""
    module, inputs = workload.module.eval(), workload.inputs
    compiled = sysai.compiler.compile(module, inputs)
    ratios, ours = {}, math.inf
    for name, theirs in rivals(workload).items():
        result = compare({name: theirs, "ours": lambda: compiled(*inputs)}, rounds, warmup=3)
        ratios[name] = result.ratio
        ours = min(ours, result.timings["ours"].median)
    moved, computed = workload.megabytes * 1e6 / ours / bandwidth, workload.gigaflops * 1e9 / ours / rate
    limit = f"{moved:4.0%} of bandwidth" if workload.megabytes else f"{computed:4.0%} of FLOP rate"
    beside = "  ".join(f"{name} {ratio:5.2f}x" for name, ratio in ratios.items())
    print(f"{workload.name:22} {ours * 1e3:8.3f} ms  {limit:18}  {beside}", flush=True)
    return ratios


def smollm2(rounds: int) -> None:
    """Prefill of 256 tokens and decode behind it, transformers' Llama through torch.compile with either backend."""
    from ch01_decode_prefill import as_transformers
    from sysai.models.weights import load_smollm2

    model = as_transformers(load_smollm2("cpu")[0])
    tokens = torch.randint(10, 1000, (32, 256))
    for batch in (1, 8, 32):
        steps = {}
        for backend in ("inductor", "sysai"):
            torch._dynamo.reset()
            step = torch.compile(model, backend=backend)
            cache = model(tokens[:batch], use_cache=True, logits_to_keep=1).past_key_values

            def decode(step=step, cache=cache, token=tokens[:batch, :1]):
                logits = step(token, past_key_values=cache, use_cache=True).logits
                cache.crop(-1)
                return logits

            steps["torch.compile" if backend == "inductor" else "ours"] = decode
        print(f"SmolLM2 decode, batch {batch}: {compare(steps, rounds, warmup=3)}", flush=True)
    prefill = {}
    for backend in ("inductor", "sysai"):
        step = torch.compile(model, backend=backend)
        name = "torch.compile" if backend == "inductor" else "ours"
        prefill[name] = lambda step=step: step(tokens[:1], use_cache=False, logits_to_keep=1).logits
    print(f"SmolLM2 prefill of 256 tokens: {compare(prefill, rounds, warmup=2)}", flush=True)


@torch.no_grad()
def main() -> None:
    """Measure everything, and print geometric means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=(), help="names of workloads, or parts of them")
    parser.add_argument("--smollm2", action="store_true", help="the whole model as well")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    bandwidth, rate = measure_read_bandwidth("cpu"), measure_matmul_rate("cpu", size=1024)
    print(f"{torch.get_num_threads()} threads, {bandwidth / 1e9:.1f} GB/s read, {rate / 1e9:.0f} GFLOP/s")
    memory_bound = []
    for workload in workloads():
        if not arguments.only or any(part in workload.name for part in arguments.only):
            ratios = measure(workload, arguments.rounds, bandwidth, rate)
            if workload.megabytes and not workload.name.startswith("matmul"):
                memory_bound.append(ratios["torch.compile"])
    if memory_bound:
        mean = math.exp(sum(map(math.log, memory_bound)) / len(memory_bound))
        print(f"memory-bound workloads, geometric mean: {mean:.2f}x torch.compile")
    if arguments.smollm2:
        smollm2(arguments.rounds)


if __name__ == "__main__":
    main()
