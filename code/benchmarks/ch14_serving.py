"""Chapter 14: SmolLM2-135M behind `sysai serve`, under a workload of the Azure trace's lengths (see ch14_workload).

throughput  all requests at once: output tokens a second through HTTP, beside transformers' static batching of the
            same requests (in order of arrival, padded on the left, generated until the longest of a batch is done)
            at its best batch size; ours, theirs, ours
work        what both sides of `throughput` compute for these requests, counted: tokens read, with padding and less the
            prefix cache's; steps; theirs if the prompts are sorted by length, and ours without the prefix cache
prefix      requests that share system prompts: TTFT with prefix caching and without, one at a time and under load
chunked     short requests while long prompts arrive: P99 of TPOT and of the gaps between tokens, with a token
            budget of 128 and with one that takes every prompt whole
policies    three policies on the engine in real time, and what the simulator says of each; it is told what a step
            costs by steps that the engine took for other requests of the same kind

python code/benchmarks/ch14_serving.py [--only throughput ...] [--requests 200] [--seed 0]
python code/benchmarks/ch14_serving.py --record
python code/benchmarks/ch14_serving.py --serve "--weight-dtype int8"       further options of the server
"""

import argparse
import asyncio
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import mean, median

import torch
from ch14_policies import CONFIG, measure_policies
from ch14_record import CONTESTANTS, header, record
from ch14_workload import at_once, conversations
from sysai.hardware.rates import measure_matmul_rate, measure_read_bandwidth
from sysai.models.as_transformers import as_transformers
from sysai.models.weights import load_smollm2
from sysai.serving.simulation.cost_model import StepCostModel
from sysai.serving.simulation.latency import LatencyReport, summarize
from sysai.serving.simulation.load_generator import Outcome, replay
from sysai.serving.simulation.simulator import simulate
from sysai.serving.simulation.workload import Lengths, Sharing, WorkItem, make_workload
from transformers import LlamaForCausalLM


@contextmanager
def server(options: argparse.Namespace, *more: str) -> Iterator[str]:
    """`sysai serve` in a process of its own; the address of its API. It must end well at SIGTERM."""
    command = [sys.executable, "-m", "sysai", "serve", "--port", "0", "--request-timeout", "3600"]
    for name in ("max_num_seqs", "max_num_batched_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(CONFIG, name))]
    command += ["--num-blocks", str(CONFIG.num_blocks), *shlex.split(options.serve), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("address"):
                    yield line.split()[1]
                    break
            else:
                raise SystemExit(f"{shlex.join(command)} has ended before it served")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    assert process.returncode == 0, f"sysai serve ended with code {process.returncode}"


def replayed(url: str, workload: Sequence[WorkItem], max_concurrency: int | None = None) -> list[Outcome]:
    """Replay a workload that must succeed."""
    outcomes = asyncio.run(replay(workload, url, max_concurrency=max_concurrency))
    failed = [outcome for outcome in outcomes if outcome.error]
    assert not failed, f"{len(failed)} requests failed, the first with {failed[0].error}: {failed[0].message}"
    return outcomes


def report(outcomes: Sequence[Outcome]) -> LatencyReport:
    """The outcomes in numbers."""
    return summarize([outcome.timing for outcome in outcomes], percents=(50, 90, 99, 100))


def static_batching(model: LlamaForCausalLM, workload: Sequence[WorkItem], size: int) -> float:
    """Seconds that transformers takes for the requests in batches of `size`."""
    start = time.perf_counter()
    for first in range(0, len(workload), size):
        batch = workload[first : first + size]
        longest = max(len(item.prompt_token_ids) for item in batch)
        padding = [longest - len(item.prompt_token_ids) for item in batch]
        ids = [[0] * pad + list(item.prompt_token_ids) for pad, item in zip(padding, batch, strict=True)]
        mask = [[0] * pad + [1] * (longest - pad) for pad in padding]
        tokens = max(item.output_length for item in batch)
        made = model.generate(
            torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
        assert made.shape[1] == longest + tokens
    return time.perf_counter() - start


def measure_throughput(options: argparse.Namespace) -> dict:
    """Ours through HTTP beside transformers, which needs no server for it."""
    workload = at_once(conversations(options.requests, 1.0, options.seed, sharing(options)))
    theirs = as_transformers(load_smollm2("cpu")[0])
    theirs.generation_config.eos_token_id = None
    output = sum(item.output_length for item in workload)
    some = workload[: max(options.sizes)]
    by_size = {size: len(some) / static_batching(theirs, some, size) for size in options.sizes}
    size = max(by_size, key=by_size.get)
    print(f"static batching, requests a second by size: { {s: round(r, 2) for s, r in by_size.items()} }", flush=True)
    ours_seconds, their_seconds, reports = [], [], []

    def through_http() -> LatencyReport:
        with server(options) as url:  # a fresh one: nothing of the last run is in its cache
            return report(replayed(url, workload))

    for _ in range(options.rounds):
        before = through_http()
        their_seconds.append(static_batching(theirs, workload, size))
        reports += [before, through_http()]
        ours_seconds.append(mean(one.seconds for one in reports[-2:]))
    pairs = zip(their_seconds, ours_seconds, strict=True)
    row = {
        "requests": len(workload),
        "prompt_tokens": sum(len(item.prompt_token_ids) for item in workload),
        "output_tokens": output,
        "tokens_per_second": output / median(ours_seconds),
        "their_tokens_per_second": output / median(their_seconds),
        "their_batch_size": size,
        "ratio": median(theirs / ours for theirs, ours in pairs),
        "ttft": reports[-1].ttft,
        "tpot": reports[-1].tpot,
    }
    print(
        f"throughput: {row['tokens_per_second']:.1f} tokens/s, transformers' batches of {size} "
        f"{row['their_tokens_per_second']:.1f}: {row['ratio']:.2f}x",
        flush=True,
    )
    return row


def count_work(options: argparse.Namespace) -> dict:
    """Tokens of prompts that are computed and steps, of static batches of 8 (also sorted) and of our scheduler."""
    workload = at_once(conversations(options.requests, 1.0, options.seed, sharing(options)))
    found = {}
    by_length = sorted(workload, key=lambda item: len(item.prompt_token_ids))
    for kind, requests in (("their", workload), ("their_sorted", by_length)):
        batches = [requests[first : first + 8] for first in range(0, len(requests), 8)]
        found |= {
            f"{kind}_prompt_tokens": sum(len(b) * max(len(item.prompt_token_ids) for item in b) for b in batches),
            f"{kind}_decode_steps": sum(max(item.output_length for item in b) for b in batches),
        }
    found |= {
        "prompt_tokens": sum(len(item.prompt_token_ids) for item in workload),
        "output_tokens": sum(item.output_length for item in workload),
    }
    for kind, caching in (("ours", True), ("ours_uncached", False)):
        counted = simulate(workload, replace(CONFIG, prefix_caching=caching), StepCostModel(fixed=1.0))
        found |= {
            f"{kind}_prompt_tokens": found["prompt_tokens"] - counted.cached_tokens,
            f"{kind}_steps": counted.steps,
        }
    print(f"work: {found}", flush=True)
    return found


def measure_prefix(options: argparse.Namespace) -> dict:
    """TTFT of requests that all begin with system prompts: the same requests to a server with prefix caching and not.

    Both servers are up, and one works at a time. The first request of each system prompt fills the cache, and is
    counted like any other.
    """
    everyone = replace(sharing(options), fraction=1.0)
    alone = at_once(conversations(options.requests // 4, 1.0, options.seed, everyone))
    loaded = conversations(options.requests // 2, options.rate, options.seed + 1, everyone)
    found = {}
    with server(options) as caching, server(options, "--no-enable-prefix-caching") as plain:
        for name, workload, most in (("one at a time", alone, 1), (f"{options.rate:g} a second", loaded, None)):
            ttft, cached = {}, {}
            for kind, url in (("with", caching), ("without", plain)):
                outcomes = replayed(url, workload, most)
                # One at a time, a request is due when it is sent.
                waits = [o.timing.token_times[0] - (o.sent if most else o.timing.arrival) for o in outcomes]
                ttft[kind] = median(waits)
                prompts = sum(len(item.prompt_token_ids) for item in workload)
                cached[kind] = sum(outcome.cached_tokens for outcome in outcomes) / prompts
            found[name] = {"ttft_median": ttft, "cached": cached, "ratio": ttft["without"] / ttft["with"]}
            print(
                f"prefix caching, {name}: {cached['with']:.0%} of the prompts were cached; median TTFT "
                f"{ttft['with'] * 1e3:.0f} ms, without it {ttft['without'] * 1e3:.0f} ms: {found[name]['ratio']:.1f}x",
                flush=True,
            )
    return found


def measure_chunked(options: argparse.Namespace) -> dict:
    """Short requests that decode, and now and then a long prompt: what the short ones feel of it."""
    short = make_workload(options.requests // 4, options.rate, Lengths.uniform(16, 48), Lengths.uniform(40, 60), 0)
    long = make_workload(
        options.requests // 16, options.rate / 4, Lengths.uniform(700, 1100), Lengths.uniform(4, 4), options.seed + 1
    )
    workload = sorted([*short, *long], key=lambda item: item.arrival)
    felt = [i for i, item in enumerate(workload) if item.output_length > 4]
    found = {}
    budgets = {
        "chunks of 128": ("--max-num-batched-tokens", "128"),
        "whole prompts": ("--max-num-batched-tokens", "2048"),
    }
    for name, arguments in budgets.items():
        with server(options, *arguments) as url:
            outcomes = replayed(url, workload)
        of_short = report([outcomes[i] for i in felt])
        ttft_of_long = median(o.timing.ttft for i, o in enumerate(outcomes) if i not in felt)
        found[name] = {"gap": of_short.gap, "tpot": of_short.tpot, "ttft_of_long": ttft_of_long}
        gaps = ", ".join(f"P{percent:g} {seconds * 1e3:.0f} ms" for percent, seconds in of_short.gap.items())
        print(
            f"{name}: gaps {gaps}; TPOT P99 {of_short.tpot[99] * 1e3:.0f} ms; median TTFT of long prompts "
            f"{ttft_of_long * 1e3:.0f} ms",
            flush=True,
        )
    return found


def sharing(options: argparse.Namespace) -> Sharing:
    """Half of the requests begin with one of four system prompts."""
    return Sharing(0.5, 4, options.system_length)


PARTS = {
    "throughput": measure_throughput,
    "work": count_work,
    "prefix": measure_prefix,
    "chunked": measure_chunked,
    "policies": lambda options: measure_policies(options, sharing(options)),
}


@torch.inference_mode()
def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.8, help="requests a second, where a part is not saturated")
    parser.add_argument("--system-length", type=int, default=512, help="tokens of a system prompt")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[4, 8, 16, 32], help="of static batches, to choose from"
    )
    parser.add_argument("--rounds", type=int, default=1, help="of throughput")
    parser.add_argument("--runner", default="compiled float32", help="of policies: torch or compiled, and its weights")
    parser.add_argument("--serve", default="", help="further options of sysai serve, in one string")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="for the chapter, in sysai.recorded")
    options = parser.parse_args()
    rates = {"bandwidth": measure_read_bandwidth("cpu"), "flops": measure_matmul_rate("cpu", size=1024)}
    print(f"{header(rates)['hardware']}: {rates['bandwidth'] / 1e9:.1f} GB/s, {rates['flops'] / 1e9:.0f} GFLOP/s")
    for part in options.only:
        found = PARTS[part](options)
        if options.record:
            contestants = () if part == "work" else CONTESTANTS
            record("ch14_serving", rates, contestants, **{part: found})


if __name__ == "__main__":
    main()
