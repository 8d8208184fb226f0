"""Chapter 07: what the compiler makes, beside eager torch, torch.compile, numpy and JAX (where it is installed).

Each pair runs interleaved in one process (ours, theirs, theirs, ours); the median of the rounds' ratios is the result:
above 1 ours is faster. A sample repeats its program for some milliseconds, so that threads that still wait actively
for the other program's next call disturb a small part of it. Results are allocated at each call, as each framework
does it; "given memory" is torch.compile that writes into tensors that are there, and ours, which keeps the memory of
results that the caller has dropped, is compared with that as it is. Ours has its weights frozen (`freeze=True`);
"ours, live" is ours without, which reads them at each call as they are.
The third column is the fraction that ours reaches of the bandwidth or FLOP rate measured on this machine
(above 100% where the data stays in a cache).

    python code/benchmarks/ch07_compiler.py [--rounds 7] [--only chain softmax ...] [--max-autotune]
    python code/benchmarks/ch07_compiler.py --smollm2          prefill and decode of the whole model
    python code/benchmarks/ch07_compiler.py --first-calls      seconds until the first result, without and with caches
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # or numpy's threads would keep the cores from whoever is next
import ch07_in_numpy as in_numpy
import numpy as np
import sysai.compiler
import sysai.compiler.backend
import torch
from sysai.core.benchmark import compare, measure
from sysai.hardware.rates import measure_matmul_rate, measure_read_bandwidth
from sysai.models.attention import causal_mask
from sysai.models.formulas import decode_bytes, forward_flops
from sysai.models.presets import SMOLLM2_135M
from sysai.models.smollm2 import FILE_NAME, fetch_smollm2
from sysai.models.transformer import Transformer
from sysai.models.weights import load_smollm2
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


class Layer(nn.Module):
    """One block of SmolLM2, with random weights, on a whole prompt or a single token."""

    def __init__(self) -> None:
        super().__init__()
        model = Transformer(replace(SMOLLM2_135M, n_layers=1, vocab_size=1))
        self.block, self.rope = model.blocks[0], model.rope

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        length = x.shape[1]
        return self.block(x, self.rope(0, length), causal_mask(length, 0, like=x), None)


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(*inputs)


def workloads() -> list[Workload]:
    """The parts of transformers that the chapter looks at, float32."""
    x, r = torch.randn(4096, 1024), torch.randn(4096, 1024)
    square, mb = torch.randn(4096, 4096), 4 * 4096 * 1024 / 1e6
    chain, norm, rms, mlp = Chain(1024), nn.LayerNorm(1024), ResidualRMSNorm(1024), SwiGLU(576, 1536)
    found = [
        Workload("chain", chain, (x, r), 3 * mb, array=in_numpy.chain(chain)),
        Workload("softmax", Apply(lambda x: F.softmax(x, -1)), (square,), 8 * mb, array=in_numpy.softmax),
        Workload("gelu", Apply(F.gelu), (x,), 2 * mb),
        Workload("layer norm", norm, (x,), 2 * mb, array=in_numpy.layer_norm(norm)),
        Workload("rms norm + residual", rms, (x, r), 4 * mb, array=in_numpy.residual_rms_norm(rms)),
        Workload(
            "swiglu mlp",
            mlp,
            (torch.randn(256, 576),),
            gigaflops=6 * 256 * 576 * 1536 / 1e9,
            array=in_numpy.swiglu(mlp),
        ),
        Workload(
            "attention",
            Attention(),
            (torch.randn(1, 9, 256, 64), torch.randn(1, 3, 256, 64), torch.randn(1, 3, 256, 64)),
            gigaflops=4 * 9 * 256 * 256 * 64 / 1e9,
            array=in_numpy.attention,
        ),
    ]
    for tokens in (1, 256):
        layer = Layer()
        weights = sum(parameter.numel() for parameter in layer.parameters())
        config = replace(SMOLLM2_135M, n_layers=1, vocab_size=1)
        found.append(
            Workload(
                f"block, {tokens} token{'s' if tokens > 1 else ''}",
                layer,
                (torch.randn(1, tokens, config.d_model),),
                megabytes=4 * weights / 1e6 if tokens == 1 else 0.0,
                gigaflops=forward_flops(config, 1, tokens).total / 1e9,
                array=in_numpy.block(layer.block, *layer.rope(0, tokens)),
            )
        )
    for m, k, n in ((1, 576, 1536), (8, 576, 1536), (64, 576, 1536), (256, 576, 1536), (1024, 1024, 1024)):
        linear, inputs = nn.Linear(k, n, bias=False), (torch.randn(m, k),)
        small = m <= 8
        found.append(
            Workload(
                f"matmul {m}x{k}x{n}",
                linear,
                inputs,
                megabytes=4 * (k * n + m * k + m * n) / 1e6 if small else 0.0,
                gigaflops=2 * m * k * n / 1e9,
                array=in_numpy.linear(linear),
            )
        )
    return found


def rivals(workload: Workload, max_autotune: bool) -> dict[str, Callable[[], object]]:
    """The same computation by others."""
    module, inputs = workload.module, workload.inputs
    torch._dynamo.reset()
    found: dict[str, Callable] = {"eager": lambda: module(*inputs), "torch.compile": compiled_by_torch(module, inputs)}
    if max_autotune:
        found["max-autotune"] = compiled_by_torch(module, inputs, mode="max-autotune")
    found["given memory"] = compiled_by_torch(Into(module, inputs), inputs)
    if any(True for _ in module.parameters()):
        live = sysai.compiler.compile(module, inputs)
        found["ours, live"] = lambda: live(*inputs)
    if workload.array is not None:
        arrays = [tensor.numpy() for tensor in inputs]
        found["numpy"] = lambda: workload.array(np, *arrays)
        torch.testing.assert_close(as_tensors(found["numpy"]()), as_tensors(module(*inputs)), rtol=1e-3, atol=1e-3)
        if jax is not None:
            jitted = jax.jit(lambda *x: workload.array(jnp, *x))
            on_device = [jnp.asarray(array) for array in arrays]
            found["jax"] = lambda: jax.block_until_ready(jitted(*on_device))
    return found


def as_tensors(results: object) -> list[Tensor]:
    """A result, or several, of torch or numpy."""
    return [torch.as_tensor(result) for result in (results if isinstance(results, tuple) else (results,))]


def compiled_by_torch(module: nn.Module, inputs: Sequence[Tensor], **options: object) -> Callable[[], object]:
    """torch.compile's program for these inputs, compiled."""
    program = torch.compile(module, **options)
    program(*inputs)
    return lambda: program(*inputs)


class Into(nn.Module):
    """A module whose results go into tensors that are there; torch.compile writes them there at once."""

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.module = module
        results = module(*inputs)
        self.results = [torch.empty_like(x) for x in (results if isinstance(results, tuple) else (results,))]

    def forward(self, *inputs: Tensor) -> None:
        """The module's arguments; nothing is returned."""
        made = self.module(*inputs)
        for result, value in zip(self.results, made if isinstance(made, tuple) else (made,), strict=True):
            result.copy_(value)


def repeated(program: Callable[[], object], milliseconds: float = 10.0) -> Callable[[], object]:
    """The program as often as fills some milliseconds."""
    times = max(1, round(milliseconds / 1e3 / measure(program, repeats=5, warmup=3).minimum))

    def run() -> None:
        for _ in range(times):
            program()

    run.times = times
    return run


def measure_workload(
    workload: Workload, rounds: int, bandwidth: float, rate: float, max_autotune: bool
) -> dict[str, float]:
    """Print a line; return by how much ours is faster than each of the others."""
    module, inputs = workload.module.eval(), workload.inputs
    compiled = sysai.compiler.compile(module, inputs, freeze=True)
    mine = repeated(lambda: compiled(*inputs))
    ratios, ours = {}, math.inf
    for name, theirs in rivals(workload, max_autotune).items():
        theirs = repeated(theirs)
        result = compare({name: theirs, "ours": mine}, rounds)
        ratios[name] = result.ratio * mine.times / theirs.times
        ours = min(ours, result.timings["ours"].median / mine.times)
    moved, computed = workload.megabytes * 1e6 / ours / bandwidth, workload.gigaflops * 1e9 / ours / rate
    limit = f"{moved:4.0%} of bandwidth" if workload.megabytes else f"{computed:4.0%} of FLOP rate"
    beside = "  ".join(f"{name} {ratio:5.2f}x" for name, ratio in ratios.items())
    print(f"{workload.name:22} {ours * 1e3:8.3f} ms  {limit:18}  {beside}", flush=True)
    return ratios


def smollm2(rounds: int, bandwidth: float, rate: float, max_autotune: bool, prompt: int = 256) -> None:
    """Prefill of a prompt and decode after it: transformers' Llama by itself and through torch.compile.

    Every decode step begins with the prompt's cache, as contiguous tensors, which is what generation has.
    """
    from sysai.models.as_transformers import as_transformers

    model = as_transformers(load_smollm2("cpu")[0])
    tokens = torch.randint(10, 1000, (32, prompt))

    def prefill(step: Callable) -> Callable[[], object]:
        return lambda: step(tokens[:1], use_cache=False, logits_to_keep=1).logits

    def decode(step: Callable, batch: int) -> Callable[[], object]:
        cache = model(tokens[:batch], use_cache=True, logits_to_keep=1).past_key_values
        kept = [(layer.keys, layer.values) for layer in cache.layers]
        for tensor in (tensor for pair in kept for tensor in pair):
            torch._dynamo.mark_dynamic(tensor, 2)  # as it becomes when a cache has grown

        def one_token() -> Tensor:
            for layer, (keys, values) in zip(cache.layers, kept, strict=True):
                layer.keys, layer.values = keys, values
            return step(tokens[:batch, :1], past_key_values=cache, use_cache=True).logits

        return one_token

    made = {"prefill of 256": (prefill, forward_flops(SMOLLM2_135M, 1, prompt, last_only=True).total / rate)}
    for batch in (1, 8, 32):
        seconds = decode_bytes(SMOLLM2_135M, batch, prompt) / bandwidth
        made[f"decode, batch {batch}"] = (lambda step, batch=batch: decode(step, batch), seconds)
    for name, (program, limit) in made.items():
        torch._dynamo.reset()
        mine = program(torch.compile(model, backend="sysai", options={"freeze": True}))
        beside, ours = [], math.inf
        steps = {"eager": model, "torch.compile": torch.compile(model)}
        steps["ours, live"] = torch.compile(model, backend="sysai")
        if max_autotune:
            steps["max-autotune"] = torch.compile(model, mode="max-autotune")
        for rival, step in steps.items():
            result = compare({rival: program(step), "ours": mine}, rounds, warmup=3)
            ours = min(ours, result.timings["ours"].median)
            beside.append(f"{rival} {result.ratio:5.2f}x")
        print(
            f"SmolLM2 {name:15} {ours * 1e3:8.1f} ms  {limit / ours:4.0%} of the roofline  {'  '.join(beside)}",
            flush=True,
        )


def first_calls() -> None:
    """Seconds from a module to its first result, in processes of their own: with empty caches, then with full ones."""
    for name in ("chain", "block, 256 tokens", "SmolLM2"):
        for by in ("sysai", "inductor"):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / FILE_NAME).symlink_to(fetch_smollm2())
                environment = os.environ | {"SYSAI_CACHE": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
                command = [sys.executable, __file__, "--first-call", name, by]
                cold, cached = (
                    float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
                    for _ in range(2)
                )
            print(f"{name:18} {by:9} first result after {cold:5.1f} s, with what is cached {cached:5.1f} s", flush=True)


def first_call(name: str, by: str) -> None:
    """Print how long one takes in this process."""
    if name == "SmolLM2":
        from sysai.models.as_transformers import as_transformers

        model, inputs = as_transformers(load_smollm2("cpu")[0]), (torch.randint(10, 1000, (1, 256)),)
        keywords = {"use_cache": False, "logits_to_keep": 1}
    else:
        (workload,) = (workload for workload in workloads() if workload.name == name)
        model, inputs, keywords = workload.module.eval(), workload.inputs, {}
    start = time.perf_counter()
    torch.compile(model, backend=by)(*inputs, **keywords)
    print(time.perf_counter() - start)


@torch.no_grad()
def main() -> None:
    """Measure everything, and print geometric means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=(), help="names of workloads, or parts of them")
    parser.add_argument("--max-autotune", action="store_true", help="torch.compile in that mode as well")
    parser.add_argument("--smollm2", action="store_true", help="the whole model instead")
    parser.add_argument("--first-calls", action="store_true", help="the time of compiling instead")
    parser.add_argument("--first-call", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.first_call:
        return first_call(*arguments.first_call)
    if arguments.first_calls:
        return first_calls()
    bandwidth, rate = measure_read_bandwidth("cpu"), measure_matmul_rate("cpu", size=1024)
    print(f"{torch.get_num_threads()} threads, {bandwidth / 1e9:.1f} GB/s read, {rate / 1e9:.0f} GFLOP/s", flush=True)
    if arguments.smollm2:
        return smollm2(arguments.rounds, bandwidth, rate, arguments.max_autotune)
    memory_bound: dict[str, list[float]] = {"torch.compile": [], "given memory": []}
    for workload in workloads():
        if not arguments.only or any(part in workload.name for part in arguments.only):
            ratios = measure_workload(workload, arguments.rounds, bandwidth, rate, arguments.max_autotune)
            if workload.megabytes and not workload.gigaflops:
                for name, found in memory_bound.items():
                    found.append(ratios[name])
    for name, found in memory_bound.items():
        if found:
            mean = math.exp(sum(map(math.log, found)) / len(found))
            print(f"memory-bound workloads, geometric mean: {mean:.2f}x {name}")
    return None


if __name__ == "__main__":
    main()
