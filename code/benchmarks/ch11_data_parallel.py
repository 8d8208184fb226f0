"""Chapter 11: a training step of our DDP, ZeRO and FSDP beside torch's.

Each pair trains the same Transformer from the same weights on the same batches, interleaved (ours, theirs,
theirs, ours) on the same processes; the ratio is the result. On the CPUs of one machine theirs go over gloo and ours
through shared memory, on GPUs both over NCCL.

    python code/benchmarks/ch11_data_parallel.py [--processes 2 4] [--rounds 7] [--layers 8] [--width 256]
    torchrun --nproc-per-node 8 code/benchmarks/ch11_data_parallel.py --width 2048      # on GPUs
"""

import argparse
import os

import torch
import torch.distributed as dist
from sysai.core.benchmark import compare
from sysai.core.device import describe_device
from sysai.distributed import launch
from sysai.distributed.mesh import Mesh, MeshAxis
from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters
from sysai.models.transformer import Transformer, next_token_loss
from sysai.parallel.data_parallel import DistributedDataParallel
from sysai.parallel.fsdp import FullyShardedDataParallel
from sysai.parallel.zero import ZeroOptimizer
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import AdamW

LEARNING_RATE = 1e-3


def ours_data_parallel(model: nn.Module, axis: MeshAxis):
    """DistributedDataParallel of this package."""
    return DistributedDataParallel(model, axis), AdamW(model.parameters(), LEARNING_RATE)


def torch_data_parallel(model: nn.Module, axis: MeshAxis):
    """Torch's DistributedDataParallel, with the gradients in its buckets as ours are."""
    wrapped = nn.parallel.DistributedDataParallel(model, process_group=axis.group, gradient_as_bucket_view=True)
    return wrapped, AdamW(model.parameters(), LEARNING_RATE)


def ours_zero_1(model: nn.Module, axis: MeshAxis):
    """ZeroOptimizer, stage 1."""
    return model, ZeroOptimizer(model.parameters(), AdamW, axis, stage=1, lr=LEARNING_RATE)


def ours_zero_2(model: nn.Module, axis: MeshAxis):
    """ZeroOptimizer, stage 2."""
    return model, ZeroOptimizer(model.parameters(), AdamW, axis, stage=2, lr=LEARNING_RATE)


def torch_zero(model: nn.Module, axis: MeshAxis):
    """ZeroRedundancyOptimizer (stage 1) on torch's DistributedDataParallel."""
    wrapped, _ = torch_data_parallel(model, axis)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), AdamW, process_group=axis.group, lr=LEARNING_RATE)
    return wrapped, optimizer


def ours_fully_sharded(model: nn.Module, axis: MeshAxis):
    """FullyShardedDataParallel of this package."""
    wrapped = FullyShardedDataParallel(model, axis, model.blocks)
    return wrapped, AdamW(wrapped.parameters(), LEARNING_RATE)


def torch_fully_sharded(model: nn.Module, axis: MeshAxis):
    """fully_shard of torch (FSDP2)."""
    mesh = DeviceMesh.from_group(axis.group, axis.device.type)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh), AdamW(model.parameters(), LEARNING_RATE)


PAIRS = {
    "data parallel": (ours_data_parallel, torch_data_parallel),
    "ZeRO-1": (ours_zero_1, torch_zero),
    "ZeRO-2": (ours_zero_2, torch_zero),
    "fully sharded": (ours_fully_sharded, torch_fully_sharded),
}


def step_of(make, config: ModelConfig, batch: int, sequence: int, axis: MeshAxis, losses: list[float]):
    """A training step of one technique, as a function of nothing. It ends on all ranks together; losses are kept."""
    torch.manual_seed(0)
    model, optimizer = make(Transformer(config).to(axis.device), axis)
    tokens = torch.randint(config.vocab_size, (batch, sequence + 1)).to(axis.device)

    def step():
        optimizer.zero_grad()
        loss = next_token_loss(model, tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        dist.barrier(axis.group)
        losses.append(loss.item())

    return step


def measure(world: Mesh, config: ModelConfig, batch: int, sequence: int, rounds: int) -> list[str]:
    """One line for each pair: the comparison, and the largest difference between the losses of both."""
    axis, lines = world["world"], []
    for name, pair in PAIRS.items():
        losses = {"ours": [], "torch": []}
        steps = {
            side: step_of(make, config, batch, sequence, axis, losses[side])
            for side, make in zip(losses, pair, strict=True)
        }
        result = compare(steps, rounds, warmup=2, device=axis.device)
        apart = max(abs(ours - theirs) for ours, theirs in zip(*losses.values(), strict=True))
        lines.append(
            f"{name:<14} {result}; loss {losses['ours'][0]:.3f} to {losses['ours'][-1]:.3f}, apart {apart:.0e}"
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="without torchrun: how many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4, help="sequences on each process")
    parser.add_argument("--sequence", type=int, default=64)
    options = parser.parse_args()
    heads = max(1, options.width // 64)
    config = ModelConfig(
        name="benchmark", vocab_size=4096, d_model=options.width, n_layers=options.layers, n_heads=heads,
        n_kv_heads=heads, head_dim=64, d_ff=4 * options.width, max_positions=options.sequence, tie_embeddings=True,
    )  # fmt: skip
    arguments = config, options.batch, options.sequence, options.rounds
    title = f"{parameters(config).total:,} parameters, {options.batch} x {options.sequence} tokens a process"
    if "RANK" in os.environ:
        lines = launch.main(measure, *arguments)
        if os.environ["RANK"] == "0":
            print(describe_device("auto"), f"{title}, {os.environ['WORLD_SIZE']} processes", *lines, sep="\n")
        return
    print(describe_device("cpu"))
    for processes in options.processes:
        lines = launch.run(measure, processes, *arguments, timeout=1800)[0]
        print(f"{title}, {processes} processes", *lines, sep="\n")


if __name__ == "__main__":
    main()
