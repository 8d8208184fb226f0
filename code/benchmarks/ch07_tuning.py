"""Chapter 07: what a search of schedules finds beyond the default ones, on kernels as the compiler lowers them.

For each kernel: 64 candidates, chosen by evolution and a learned cost model and measured in a process of their own;
then the best of them beside the default schedule in this process, interleaved (best, default, default, best). The
first candidate of a search is the default schedule, so that the search is never behind it but for noise: a ratio
near 1 says that the default is as good as anything that was found.

    python code/benchmarks/ch07_tuning.py [softmax ...] [--trials 64] [--rounds 15] [--threads 1] [--database FILE]
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping

import torch
from sysai.compiler.codegen.kernel import build
from sysai.compiler.graph.from_export import from_module
from sysai.compiler.pipeline import make_plan
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tuning.cost_model import CostModel, pairs_in_order
from sysai.compiler.tuning.measure import Database, Measurer
from sysai.compiler.tuning.search import Options, Tuned, tune
from sysai.compiler.tuning.space import Space, rule_for
from sysai.core.benchmark import Comparison, compare, measure
from sysai.core.device import describe_device
from torch import nn
from torch.nn import functional as F

CALLS_S = 0.01  # what is timed at once takes about this long


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """What the function gives."""
        return self.function(x, y)


def chain(x_RD: torch.Tensor, skip_RD: torch.Tensor) -> torch.Tensor:
    """GELU, residual, LayerNorm."""
    return F.layer_norm(F.gelu(x_RD) + skip_RD, x_RD.shape[-1:])


KERNELS = {
    "matmul 256x576x1536": (torch.matmul, (256, 576), (576, 1536)),
    "matmul 8x576x1536": (torch.matmul, (8, 576), (576, 1536)),
    "softmax of rows 2048x1024": (lambda x, y: torch.softmax(x + y, -1), (2048, 1024), (2048, 1024)),
    "GELU, residual, LayerNorm 1024x1024": (chain, (1024, 1024), (1024, 1024)),
    "GELU of columns' maxima 1024x1024": (lambda x, y: F.gelu((x * y).amax(0)), (1024, 1024), (1024, 1024)),
}


def lowered(name: str) -> tuple[PrimFunc, str, Schedule]:
    """The costliest kernel of an expression before any schedule, the class of its group, and its default schedule."""
    function, *shapes = KERNELS[name]
    found: list[tuple[PrimFunc, str, Schedule]] = []

    def keep(kernel: PrimFunc, kind: str) -> Schedule:
        found.append((kernel, kind, default_schedule(kernel, kind)))
        return found[-1][2]

    make_plan(from_module(Apply(function), tuple(map(torch.randn, shapes))), keep)
    return found[0]


def programs(kernels: Mapping[str, PrimFunc]) -> dict[str, Callable[[], None]]:
    """Programs that call kernels on equal operands of their own, each as often as the fastest needs for CALLS_S."""
    runs = {}
    for name, function in kernels.items():
        torch.manual_seed(0)
        operands = [torch.randn([size.value for size in buffer.shape]) for buffer in function.buffers]
        runs[name] = build(function).bind(*operands)
    fastest = min(measure(run, repeats=10).minimum for run in runs.values())
    count = max(1, round(CALLS_S / fastest))

    def repeated(run: Callable[[], None]) -> Callable[[], None]:
        return lambda: [run() for _ in range(count)]

    return {name: repeated(run) for name, run in runs.items()}


def report(name: str, tuned: Tuned, seconds: float, comparison: Comparison) -> None:
    """What was found, and how it was found."""
    measured = [trial for trial in tuned.trials if trial.measurement.seconds is not None]
    least = [comparison.timings[program].minimum for program in ("best", "default")]
    print(f"{name}\n  {comparison}; of the least times {least[0] / least[1]:.2f}")
    print(
        f"  {len(tuned.trials)} trials in {seconds:.0f} s, {len(tuned.trials) - len(measured)} failed, "
        f"{tuned.refused} schedules refused before; the best was trial {tuned.trials.index(tuned.best)}"
    )
    guessed = [trial for trial in measured if trial.predicted]
    if len(guessed) > 1:
        order = pairs_in_order([t.predicted for t in guessed], [t.measurement.seconds for t in guessed])
        print(f"  the model had {order:.0%} of the pairs in order before they were measured")
    print("".join(f"    {step}\n" for step in str(tuned.best.candidate.trace).splitlines()), end="")


def main() -> None:
    """Search, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", help="parts of the names of those to tune; by default all")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--database", help="a file of records: a search goes on from what it holds")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # of the process that measures
    print(f"{describe_device(torch.device('cpu'))}, {arguments.threads} threads")
    for name in KERNELS:
        if arguments.kernels and not any(part in name for part in arguments.kernels):
            continue
        function, kind, default = lowered(name)
        database = Database(arguments.database) if arguments.database else None
        start = time.perf_counter()
        with Measurer(function) as measurer:
            space, options = Space(function, rule_for(kind)), Options(trials=arguments.trials)
            tuned = tune(space, measurer, options, model=CostModel(), baseline=default, database=database)
        seconds = time.perf_counter() - start
        kernels = {"best": tuned.best.candidate.function, "default": default.function}
        report(name, tuned, seconds, compare(programs(kernels), arguments.rounds))


if __name__ == "__main__":
    main()
