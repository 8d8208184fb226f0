"""Chapter 11: a training step of the pipeline runtime beside torch.distributed.pipelining, schedule by schedule.

Both split the same Transformer at the same blocks and follow the same schedule on the same processes, interleaved
(ours, theirs, theirs, ours), on CPUs: theirs over gloo, ours through shared memory or, with --sockets, over gloo,
too. The ratio is the result. Gradients are compared first.

    python code/benchmarks/ch11_pipeline.py [--processes 2 4] [--rounds 7] [--layers 8] [--width 256] [--sockets]
"""

import argparse

import torch
import torch.distributed as dist
from sysai.core.benchmark import compare
from sysai.core.device import describe_device
from sysai.distributed import launch
from sysai.distributed.mesh import Mesh, MeshAxis
from sysai.distributed.p2p import SocketTransport
from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters
from sysai.models.transformer import Transformer
from sysai.parallel.pipeline.runtime import Pipeline
from sysai.parallel.pipeline.schedules import GENERATORS, PipelineSchedule
from sysai.parallel.pipeline.stages import even_split, transformer_stages
from torch import Tensor, nn
from torch.distributed import pipelining
from torch.nn.functional import cross_entropy

THEIRS = {
    "gpipe": pipelining.ScheduleGPipe,
    "1f1b": pipelining.Schedule1F1B,
    "interleaved_1f1b": pipelining.ScheduleInterleaved1F1B,
    "zb_v": pipelining.ScheduleZBVZeroBubble,
}
CHUNKS = {"interleaved_1f1b": (2,)}


def loss_of(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean over all tokens."""
    return cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def make_stages(config: ModelConfig, schedule: PipelineSchedule) -> list[nn.Module]:
    """The same stages each time."""
    torch.manual_seed(0)
    return transformer_stages(Transformer(config), even_split(config.n_layers, schedule.stages))


def torch_step(
    name: str, schedule: PipelineSchedule, stages: list[nn.Module], axis: MeshAxis, tokens: Tensor, targets: Tensor
):
    """A step of torch's runtime, as a function of nothing."""
    own = schedule.stages_on(axis.rank)
    parts = [
        pipelining.PipelineStage(stages[i], i, schedule.stages, torch.device("cpu"), group=axis.group) for i in own
    ]
    runtime = THEIRS[name](parts if schedule.stages > axis.size else parts[0], schedule.microbatches, loss_fn=loss_of)
    inputs = (tokens,) if 0 in own else ()
    expected = {"target": targets} if schedule.stages - 1 in own else {}
    return lambda: runtime.step(*inputs, **expected)


def measure(
    world: Mesh, config: ModelConfig, microbatches: int, batch: int, sequence: int, rounds: int, sockets: bool
) -> list[str]:
    """One line for each schedule: the comparison, and the largest difference between the gradients of both."""
    axis, lines = world["world"], []
    tokens = torch.randint(config.vocab_size, (microbatches * batch, sequence + 1))
    tokens, targets = tokens[:, :-1], tokens[:, 1:]
    for name in THEIRS:
        schedule = GENERATORS[name](axis.size, microbatches, *CHUNKS.get(name, ()))
        own = schedule.stages_on(axis.rank)
        stages = {side: make_stages(config, schedule) for side in ("ours", "torch")}
        transport = SocketTransport(axis) if sockets else None
        pipeline = Pipeline(schedule, {i: stages["ours"][i] for i in own}, axis, loss_of, transport=transport)
        steps = {
            "ours": lambda pipeline=pipeline: pipeline.step(tokens, targets),
            "torch": torch_step(name, schedule, stages["torch"], axis, tokens, targets),
        }
        for step in steps.values():
            step()
        gradients = [{f"{i} {n}": p.grad for i in own for n, p in stages[side][i].named_parameters()} for side in steps]
        apart = max((gradients[0][key] - gradients[1][key]).abs().max().item() for key in gradients[0])
        together = {side: lambda step=step: (step(), dist.barrier(axis.group)) for side, step in steps.items()}
        lines.append(f"{name:<17} {compare(together, rounds)}; gradients apart {apart:.0e}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2, help="sequences in a micro-batch")
    parser.add_argument("--sequence", type=int, default=64)
    parser.add_argument("--sockets", action="store_true", help="send ours over gloo's sockets too")
    options = parser.parse_args()
    heads = max(1, options.width // 64)
    config = ModelConfig(
        name="benchmark", vocab_size=4096, d_model=options.width, n_layers=options.layers, n_heads=heads,
        n_kv_heads=heads, head_dim=64, d_ff=4 * options.width, max_positions=options.sequence,
    )  # fmt: skip
    arguments = config, options.microbatches, options.batch, options.sequence, options.rounds, options.sockets
    print(describe_device("cpu"))
    for processes in options.processes:
        lines = launch.run(measure, processes, *arguments, timeout=1800)[0]
        print(
            f"{parameters(config).total:,} parameters, {options.microbatches} micro-batches of {options.batch} x "
            f"{options.sequence} tokens, {processes} processes",
            *lines,
            sep="\n",
        )


if __name__ == "__main__":
    main()
