"""Chapter 07: what the compiler makes, beside eager torch, torch.compile, numpy and JAX (where it is installed).

Each contestant runs in a process of its own, so that the threads of one, which wait actively for their next call,
take no core from another. All of a workload take part in every round: once in the order of the table and once in the
reverse, so that a drift of the machine cancels in the round's ratios. A sample repeats its program for some
milliseconds. What the contestants have in common and what not:

    eager                       allocates its results at each call
    eager, out=                 PyTorch's kernels into tensors that are there (where they have such a form)
    torch.compile               as it comes: weights may change between calls
    torch.compile, frozen       torch._inductor.config.freezing: weights are constants, and packed beforehand
    torch.compile, best         frozen, mode="max-autotune": C++ templates of products are tried beside the library
    torch.compile, best, out=   the same into tensors that are there
    ours                        freeze=False: weights may change between calls; keeps the memory of dropped results
    ours, frozen                freeze=True: weights are constants, and packed beforehand

SmolLM2 is transformers' Llama everywhere. Its decode runs with a cache that grows by concatenation, and with a static
one of the prompt's length and a token, written in place.

    python code/benchmarks/ch07_compiler.py [--rounds 7] [--kinds operators SmolLM2] [--only chain "batch 1" ...]
    python code/benchmarks/ch07_compiler.py --record           all of it, into the record that chapter 07 shows
    python code/benchmarks/ch07_compiler.py --quick            small: to see that all contestants run and agree
    python code/benchmarks/ch07_compiler.py --first-calls      seconds until the first result, without and with caches
"""

import argparse
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import ch07_in_numpy as in_numpy
import numpy as np
import sysai.compiler
import sysai.compiler.backend
import torch
from ch14_record import record
from sysai.compiler.cpu import description, vector_bytes
from sysai.core.benchmark import measure
from sysai.core.device import describe_device
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

Program = Callable[[], object]
SAMPLE_S = 0.01  # a sample repeats its program for about so long
PAUSE_S = 0.02  # before a sample: the threads of the one before have gone to sleep
PROMPT = 256
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


@dataclass(frozen=True)
class Workload:
    """A module with inputs, and the least that it must move or compute.

    Attributes:
        out: gives a program of PyTorch's kernels that write into tensors that are there.
        array: the same in numpy's functions, for numpy and JAX.
    """

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    megabytes: float = 0.0
    gigaflops: float = 0.0
    out: Callable[[], Program] | None = None
    array: Callable | None = None


class Chain(nn.Module):
    """Bias, GELU, residual, LayerNorm: the chapter's running example."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias, self.norm = nn.Parameter(torch.randn(size)), nn.LayerNorm(size)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[M, N] and [M, N] to [M, N]."""
        return self.norm(F.gelu(x + self.bias) + residual)


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


class Into(nn.Module):
    """A module whose results go into given tensors; torch.compile writes them there at once."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, given: Sequence[Tensor], *inputs: Tensor) -> None:
        """Tensors for the results, and the module's arguments; nothing is returned."""
        for result, value in zip(given, as_tensors(self.module(*inputs)), strict=True):
            result.copy_(value)


def operator_workloads(quick: bool) -> list[Workload]:
    """The parts of transformers that the chapter looks at, float32."""
    rows, width = (256, 256) if quick else (4096, 1024)
    x, r, square = torch.randn(rows, width), torch.randn(rows, width), torch.randn(rows, rows)
    mb, square_mb = x.nbytes / 1e6, square.nbytes / 1e6
    chain, norm, rms, mlp = Chain(width), nn.LayerNorm(width), ResidualRMSNorm(width), SwiGLU(576, 1536)
    softmax = Apply(lambda x: F.softmax(x, -1))
    found = [
        Workload("chain", chain, (x, r), 3 * mb, out=lambda: chain_out(chain, x, r)),
        Workload("softmax", softmax, (square,), 2 * square_mb, out=lambda: softmax_out(square), array=in_numpy.softmax),
        Workload("layer norm", norm, (x,), 2 * mb, out=lambda: norm_out(norm, x), array=in_numpy.layer_norm(norm)),
        Workload("rms norm, residual", rms, (x, r), 4 * mb, array=in_numpy.residual_rms_norm(rms)),
        Workload("gelu", Apply(F.gelu), (x,), 2 * mb, out=lambda: gelu_out(x)),
        Workload(
            "swiglu mlp",
            mlp,
            (torch.randn(256, 576),),
            gigaflops=6 * 256 * 576 * 1536 / 1e9,
            array=in_numpy.swiglu(mlp),
        ),
        Workload(
            "attention, 256 tokens",
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
        linear, a = nn.Linear(k, n, bias=False), torch.randn(m, k)
        found.append(
            Workload(
                f"product {m} x {k} x {n}",
                linear,
                (a,),
                megabytes=4 * (k * n + m * k + m * n) / 1e6 if m <= 8 else 0.0,
                gigaflops=2 * m * k * n / 1e9,
                out=lambda linear=linear, a=a: product_out(linear, a),
                array=in_numpy.linear(linear),
            )
        )
    return found


def norm_out(norm: nn.LayerNorm, x: Tensor) -> Program:
    """LayerNorm into a tensor that is there."""
    out, mean, rstd = torch.empty_like(x), torch.empty(len(x), 1), torch.empty(len(x), 1)
    arguments = x, norm.normalized_shape, norm.weight, norm.bias, norm.eps
    return lambda: torch.ops.aten.native_layer_norm.out(*arguments, out0=out, out1=mean, out2=rstd)[0]


def chain_out(module: Chain, x: Tensor, residual: Tensor) -> Program:
    """The chain's kernels, one after another, into tensors that are there."""
    biased, activated, added = (torch.empty_like(x) for _ in range(3))
    normalize = norm_out(module.norm, added)

    def run() -> Tensor:
        torch.add(x, module.bias, out=biased)
        torch.ops.aten.gelu.out(biased, out=activated)
        torch.add(activated, residual, out=added)
        return normalize()

    return run


def softmax_out(x: Tensor) -> Program:
    """Softmax of rows into a tensor that is there."""
    out = torch.empty_like(x)
    return lambda: torch.softmax(x, -1, out=out)


def gelu_out(x: Tensor) -> Program:
    """GELU into a tensor that is there."""
    out = torch.empty_like(x)
    return lambda: torch.ops.aten.gelu.out(x, out=out)


def product_out(linear: nn.Linear, a: Tensor) -> Program:
    """A matrix product into a tensor that is there."""
    out, transposed = torch.empty(len(a), linear.out_features), linear.weight.t()
    return lambda: torch.mm(a, transposed, out=out)


def as_tensors(results: object) -> list[Tensor]:
    """A result, or several, of torch or numpy."""
    return [torch.as_tensor(result) for result in (results if isinstance(results, tuple) else (results,))]


COMPILED = {  # contestant -> (whether frozen, mode)
    "torch.compile": (False, None),
    "torch.compile, frozen": (True, None),
    "torch.compile, best": (True, "max-autotune"),
    "torch.compile, best, out=": (True, "max-autotune"),
}
FROZEN = {"ours": False, "ours, frozen": True}


def operator_contestants(workload: Workload) -> list[str]:
    """Who computes this workload, in the order of a round."""
    others = ["eager, out="] if workload.out else []
    arrays = ["numpy", *(["jax"] if jax else [])] if workload.array else []
    return [*FROZEN, "eager", *others, *COMPILED, *arrays]


def operator_program(workload: Workload, contestant: str) -> Program:
    """One contestant's program of a workload."""
    module, inputs = workload.module.eval(), workload.inputs
    if contestant in FROZEN:
        compiled = sysai.compiler.compile(module, inputs, freeze=FROZEN[contestant])
        return lambda: compiled(*inputs)
    if contestant == "eager":
        return lambda: module(*inputs)
    if contestant == "eager, out=":
        return workload.out()
    if contestant == "numpy":
        arrays = [tensor.numpy() for tensor in inputs]
        return lambda: workload.array(np, *arrays)
    if contestant == "jax":
        jitted = jax.jit(lambda *x: workload.array(jnp, *x))
        on_device = [jnp.asarray(tensor.numpy()) for tensor in inputs]
        return lambda: jax.block_until_ready(jitted(*on_device))
    if not contestant.endswith("out="):
        program = by_torch(module, contestant)
        return lambda: program(*inputs)
    given, program = [torch.empty_like(x) for x in as_tensors(module(*inputs))], by_torch(Into(module), contestant)

    def run() -> tuple[Tensor, ...]:
        program(given, *inputs)
        return tuple(given)

    return run


def by_torch(module: nn.Module, contestant: str) -> Callable:
    """torch.compile's program, with the options of a contestant."""
    torch._inductor.config.freezing, mode = COMPILED[contestant]
    return torch.compile(module, mode=mode)


MODEL = {  # whose programs run a step of the model, by the cache of the step
    "": (*FROZEN, "eager", "torch.compile", "torch.compile, frozen", "torch.compile, best"),
    "growing cache": (*FROZEN, "eager", "torch.compile"),
    "static cache": ("ours, frozen", "eager", "torch.compile", "torch.compile, best"),
}


def model_contestants(workload: str) -> list[str]:
    """Who runs a step of the model, in the order of a round; of a decode, with which cache."""
    if not workload.startswith("decode"):
        return list(MODEL[""])
    return [f"{program}; {cache}" for cache, programs in MODEL.items() if cache for program in programs]


def llama(quick: bool) -> nn.Module:
    """SmolLM2 as transformers has it; with `quick` two layers of it and random weights."""
    from sysai.models.as_transformers import as_transformers

    small = replace(SMOLLM2_135M, n_layers=2, vocab_size=1024)
    return as_transformers(Transformer(small) if quick else load_smollm2("cpu")[0])


def model_program(model: nn.Module, workload: str, contestant: str) -> Program:
    """transformers' Llama on a prompt, or on one token after it.

    Every decode step begins with the prompt's cache: that of the growing one as contiguous tensors, which is what
    generation has, that of the static one as it is, since a step writes over the position that the one before wrote.
    """
    from transformers import StaticCache

    contestant, _, cache_kind = contestant.partition("; ")
    if contestant in FROZEN:
        step = torch.compile(model, backend="sysai", options={"freeze": FROZEN[contestant]})
    else:
        step = model if contestant == "eager" else by_torch(model, contestant)
    batch = int(workload.split()[-1]) if workload.startswith("decode") else 1
    tokens = torch.randint(10, 1000, (batch, PROMPT + 1), generator=torch.Generator().manual_seed(0))
    if not cache_kind:
        return lambda: step(tokens[:, :PROMPT], use_cache=False, logits_to_keep=1).logits
    if cache_kind == "static cache":
        cache = StaticCache(config=model.config, max_cache_len=PROMPT + 1)
        model(tokens[:, :PROMPT], past_key_values=cache, use_cache=True, logits_to_keep=1)

        def back_to_the_prompt() -> None:
            for layer in cache.layers:
                layer.cumulative_length.fill_(PROMPT)
    else:
        cache = model(tokens[:, :PROMPT], use_cache=True, logits_to_keep=1).past_key_values
        kept = [(layer.keys, layer.values) for layer in cache.layers]
        for tensor in (tensor for pair in kept for tensor in pair):
            torch._dynamo.mark_dynamic(tensor, 2)  # as it becomes when a cache has grown

        def back_to_the_prompt() -> None:
            for layer, (keys, values) in zip(cache.layers, kept, strict=True):
                layer.keys, layer.values = keys, values

    def one_token() -> Tensor:
        back_to_the_prompt()
        return step(tokens[:, PROMPT:], past_key_values=cache, use_cache=True).logits

    return one_token


def serve(connection: Connection, workload: str, contestant: str, quick: bool) -> None:
    """Be one contestant: build a program, say that it is ready, then time a sample of it whenever asked to.

    The reference is eager's result, which each contestant computes for itself.
    """
    warnings.simplefilter("ignore")
    with torch.no_grad():
        torch.manual_seed(0)
        operators = {made.name: made for made in operator_workloads(quick)}
        if workload in operators:
            made = operators[workload]
            program, reference = operator_program(made, contestant), made.module(*made.inputs)
        else:
            _, separator, cache = contestant.partition("; ")
            model = llama(quick)
            reference = model_program(model, workload, "eager" + separator + cache)()
            program = model_program(model, workload, contestant)
        for result, expected in zip(as_tensors(program()), as_tensors(reference), strict=True):
            torch.testing.assert_close(result, expected, **TOLERANCE)
        seconds = measure(program, repeats=3 if quick else 5, warmup=2).minimum
        times = max(1, round(SAMPLE_S / seconds))
        connection.send("ready")
        while connection.recv() == "sample":
            program()  # untimed: threads wake, and what fits comes back into the cache
            start = time.perf_counter()
            for _ in range(times):
                program()
            connection.send((time.perf_counter() - start) / times)


class Contestant:
    """The other end of `serve`, in this process."""

    def __init__(self, workload: str, name: str, quick: bool) -> None:
        context, self.name = multiprocessing.get_context("spawn"), name
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, workload, name, quick), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()

    def sample(self) -> float:
        """Seconds of one call."""
        time.sleep(PAUSE_S)
        self.connection.send("sample")
        return self.connection.recv()

    def leave(self) -> None:
        """End the process."""
        self.connection.send("leave")
        self.process.join()


def measure_workload(workload: str, names: Sequence[str], limit_s: float, limit: str, arguments) -> dict:
    """Seconds of every contestant in every round, and a printed line for each."""
    contestants = [Contestant(workload, name, arguments.quick) for name in names]
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        samples = [(one.name, one.sample()) for one in (*contestants, *reversed(contestants))]
        for name in names:
            rounds[name].append(sum(seconds for other, seconds in samples if other == name) / 2)
    for one in contestants:
        one.leave()
    print(f"{workload}; the limit is {limit}, {limit_s * 1e3:.3f} ms")
    first = rounds[names[1]]
    for name, seconds in rounds.items():
        ratios = [theirs / mine for theirs, mine in zip(seconds, first, strict=True)]
        print(
            f"  {name:38}{median(seconds) * 1e3:9.3f} ms {limit_s / median(seconds):5.0%} of the limit "
            f"{median(ratios):7.2f} x {names[1]} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return {"workload": workload, "limit": limit, "limit_seconds": limit_s, "seconds": rounds}


def measure_operators(bandwidth: float, rate: float, arguments: argparse.Namespace) -> list[dict]:
    """A row for each operator and block."""
    rows = []
    for made in operator_workloads(arguments.quick):
        if is_chosen(made.name, arguments):
            bounds = {"bandwidth": made.megabytes * 1e6 / bandwidth, "FLOP rate": made.gigaflops * 1e9 / rate}
            limit = max(bounds, key=bounds.get)
            rows.append(measure_workload(made.name, operator_contestants(made), bounds[limit], limit, arguments))
    return rows


def measure_model(bandwidth: float, rate: float, arguments: argparse.Namespace) -> list[dict]:
    """A row for the prefill of a prompt and one for a decode step at each batch size."""
    limits = {f"prefill of {PROMPT}": forward_flops(SMOLLM2_135M, 1, PROMPT, last_only=True).total / rate}
    for batch in (1, 8) if arguments.quick else (1, 8, 32):
        limits[f"decode, batch {batch}"] = decode_bytes(SMOLLM2_135M, batch, PROMPT) / bandwidth
    return [
        measure_workload(
            name, model_contestants(name), seconds, "FLOP rate" if "prefill" in name else "bandwidth", arguments
        )
        for name, seconds in limits.items()
        if is_chosen(name, arguments)
    ]


def is_chosen(workload: str, arguments: argparse.Namespace) -> bool:
    """Whether a workload is among those asked for."""
    return not arguments.only or any(part in workload for part in arguments.only)


KINDS = {"operators": measure_operators, "SmolLM2": measure_model}


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
        model, inputs = llama(quick=False), (torch.randint(10, 1000, (1, PROMPT)),)
        keywords = {"use_cache": False, "logits_to_keep": 1}
    else:
        (workload,) = (workload for workload in operator_workloads(False) if workload.name == name)
        model, inputs, keywords = workload.module.eval(), workload.inputs, {}
    start = time.perf_counter()
    torch.compile(model, backend=by)(*inputs, **keywords)
    print(time.perf_counter() - start)


def cpu_model() -> str:
    """The processor and its widest vectors, on which a ratio of two programs depends."""
    found = re.search(r"model name\s*:\s*(.*)", description())
    return f"{found[1] if found else platform.processor()}, vectors of {8 * vector_bytes()} bits"


@torch.no_grad()
def main() -> None:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=(), help="names of workloads, or parts of them")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="parts to measure; else all")
    parser.add_argument("--quick", action="store_true", help="small sizes and two layers of the model, one round")
    parser.add_argument("--record", action="store_true", help="write what is measured where the chapter shows it")
    parser.add_argument("--first-calls", action="store_true", help="the time of compiling instead")
    parser.add_argument("--first-call", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.first_call:
        return first_call(*arguments.first_call)
    if arguments.first_calls:
        return first_calls()
    if arguments.quick:
        if arguments.record:
            parser.error("--quick measures other sizes than the record's: leave one of the two out")
        arguments.rounds = 1
    bandwidth, rate = measure_read_bandwidth("cpu"), measure_matmul_rate("cpu", size=1024)
    print(f"{describe_device('cpu')}; {bandwidth / 1e9:.1f} GB/s read, {rate / 1e9:.0f} GFLOP/s", flush=True)
    for kind in arguments.kinds:
        rows = KINDS[kind](bandwidth, rate, arguments)
        if arguments.record:
            rates = {"bandwidth": bandwidth, "flops": rate}
            record("ch07_compiler", rates, **{f"{kind} on {cpu_model()}": rows})
    return None


if __name__ == "__main__":
    main()
