"""Three policies on the engine in real time, and the simulator's prediction of each.

The cost model is fitted to the steps that the engine takes for other requests of the same kind (another seed), before
the first policy runs: what it predicts it has not seen. All requests are there at once and more than may run together,
so that the order in which they are taken makes a difference. The limits are those of the server in the part
"throughput": its figure is predicted, too, but for what HTTP costs.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean

import torch
from ch14_real_time import MeasuredRun, serve
from ch14_workload import at_once, conversations
from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer
from sysai.models.weights import load_smollm2
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, Policy, shortest_first
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner, Runner
from sysai.serving.simulation.cost_model import StepCostModel, fit
from sysai.serving.simulation.latency import RequestTiming, summarize
from sysai.serving.simulation.simulator import simulate
from sysai.serving.simulation.workload import Sharing, WorkItem

POLICIES = (FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first(10.0))
CONFIG = SchedulerConfig(num_blocks=3000, block_size=16, max_num_batched_tokens=512, max_num_seqs=32)


def runner_of(name: str) -> Callable[[Transformer, SchedulerConfig], Runner]:
    """By "torch float32" or "compiled int8"."""
    kind, weight_dtype = name.split()
    return partial(CompiledRunner, weight_dtype=weight_dtype) if kind == "compiled" else ModelRunner


def measure_policies(options: argparse.Namespace, sharing: Sharing) -> dict:
    """Measured and predicted throughput and mean time of a request, of each policy; how wrong each step's price was."""
    model, tokenizer = load_smollm2("cpu")
    run = partial(run_policy, model, tokenizer, runner_of(options.runner))
    others = at_once(conversations(max(16, options.requests // 4), 1.0, options.seed + 1, sharing))
    calibration = [step for policy in POLICIES[:2] for step in run(policy, others).steps]
    cost = fit(calibration)
    print(f"fitted to {len(calibration)} steps: {cost}", flush=True)
    workload = at_once(conversations(options.requests, 1.0, options.seed, sharing))
    found = {}
    for policy in POLICIES:
        measured = run(policy, workload)
        timings = simulate(workload, CONFIG, cost, policy).timings
        found[policy.name] = row = {
            "measured": figures(measured.timings),
            "predicted": figures(timings),
            "step_error": step_error(cost, measured.steps),
        }
        ratio = row["predicted"]["throughput"] / row["measured"]["throughput"]
        print(
            f"{policy.name}: {row['measured']['throughput']:.1f} tokens/s, predicted "
            f"{row['predicted']['throughput']:.1f} ({ratio - 1:+.1%}); mean TTFT {row['measured']['ttft']:.2f} s, "
            f"predicted {row['predicted']['ttft']:.2f}; mean time of a request {row['measured']['time']:.2f} s, "
            f"predicted {row['predicted']['time']:.2f}; a step's price is wrong by {row['step_error']:.1%}",
            flush=True,
        )
    for figure in ("throughput", "ttft", "time"):
        measured, predicted = (
            sorted(found, key=lambda name: found[name][kind][figure]) for kind in ("measured", "predicted")
        )
        agrees = "as predicted" if measured == predicted else f"predicted {' < '.join(predicted)}"
        print(f"order by {figure}: {' < '.join(measured)}, {agrees}", flush=True)
    return found


def run_policy(
    model: Transformer,
    tokenizer: Tokenizer,
    make_runner: Callable[[Transformer, SchedulerConfig], Runner],
    policy: Policy,
    workload: Sequence[WorkItem],
) -> MeasuredRun:
    """A policy on an engine of its own, with nothing in its cache, after a warm-up."""
    engine = Engine(model, tokenizer, CONFIG, policy, make_runner=make_runner)
    with torch.inference_mode():
        serve(engine, at_once(conversations(4, 1.0, 99)))
        return serve(engine, workload)


def figures(timings: Sequence[RequestTiming]) -> dict[str, float]:
    """Output tokens a second; mean seconds to the first token, and to the last."""
    return {
        "throughput": summarize(timings).throughput,
        "ttft": mean(timing.ttft for timing in timings),
        "time": mean(timing.token_times[-1] - timing.arrival for timing in timings),
    }


def step_error(cost: StepCostModel, steps: Sequence[tuple[SchedulerOutput, float]]) -> float:
    """Mean of the relative errors of the prices."""
    return mean(abs(cost.seconds(step) / seconds - 1) for step, seconds in steps)
