"""Where a step of the engine goes: its stages by the clock, and torch's operators by torch's profiler.

A stage is timed by a wrapper around the function that does it; what no stage covers is the engine's own. Generated C is
one call for all layers and one for the head: what attention takes of it is seen by a step with next to no context. The
rest of the pass is what Python and torch prepare.
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter
from unittest.mock import patch

from sysai.serving.engine import llm_engine as engine_module
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners.compiled_runner import CompiledRunner
from torch.profiler import ProfilerActivity, profile

LAYERS = "layers, compiled"
_KINDS = {  # of operators, by what their names contain; the first that fits
    "products": ("mm", "linear", "matmul"),
    "attention": ("attention", "softmax"),
    "gather and write of keys and values": ("index", "copy", "gather", "scatter", "cat"),
}


class Clock:
    """Seconds by stage, the time of a stage within another taken off the outer one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable) -> Callable:
        """`function`, whose time counts for `stage`."""

        def call(*arguments: object, **keywords: object) -> object:
            self._inner.append(0.0)
            start = perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                elapsed = perf_counter() - start
                self.seconds[stage] += elapsed - self._inner.pop()
                self._inner[-1] += elapsed

        return call


def stages(engine: Engine, program: Callable[[], object]) -> dict[str, float]:
    """Seconds a step of each stage, while `program` runs on the engine."""
    clock, steps = Clock(), 0
    inner_step = engine.step

    def counted() -> list:
        nonlocal steps
        steps += 1
        return inner_step()

    scheduler, runner = engine.scheduler, engine.runner
    timed = [
        (runner, "execute", "rest of the pass" if isinstance(runner, CompiledRunner) else "pass"),
        (scheduler, "schedule", "scheduler"),
        (scheduler, "update", "scheduler"),
        (engine_module, "sample", "sampler"),
        (engine, "_note", "text"),
    ]
    if isinstance(runner, CompiledRunner):
        timed += [(runner._body, "run", LAYERS), (runner._head, "run", "head, compiled")]
    with ExitStack() as patches:
        for owner, name, stage in timed:
            patches.enter_context(patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        patches.enter_context(patch.object(engine, "step", clock.timed("engine's own", counted)))
        program()
    return {stage: seconds / steps for stage, seconds in clock.seconds.items()}


def operators(program: Callable[[], object]) -> dict[str, float]:
    """Seconds of each kind of torch's operators in one run of `program`."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        program()
    found: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, parts in _KINDS.items() if any(part in name for part in parts)), "other operators")
        found[kind] += event.self_cpu_time_total / 1e6
    return found


def print_profile(name: str, engine: Engine, program: Callable[[], object], short: Callable[[], object]) -> None:
    """A table: milliseconds a step of each stage, and the shares of torch's operators in their time.

    Args:
        name: its head.
        engine: what both programs run on.
        program: whose steps are looked at.
        short: the same with hardly any context.
    """
    program()
    by_stage = stages(engine, program)
    total = sum(by_stage.values())
    print(f"{name}: {total * 1e3:.2f} ms a step")
    for stage, seconds in sorted(by_stage.items(), key=lambda item: -item[1]):
        print(f"    {stage:18} {seconds * 1e3:8.3f} ms {seconds / total:6.1%}")
    by_kind = operators(program)
    shares = ", ".join(
        f"{kind} {by_kind[kind] / sum(by_kind.values()):.0%}" for kind in sorted(by_kind, key=by_kind.get, reverse=True)
    )
    print(f"    torch's operators: {shares}")
    short()
    passes = [found.get(LAYERS, found.get("pass", 0.0)) for found in (by_stage, stages(engine, short))]
    print(f"    attention to the context: {(passes[0] - passes[1]) * 1e3:.3f} ms, the difference to steps without it")
