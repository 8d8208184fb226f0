"""Chapter 11: our collectives beside gloo's, on the processes of this machine, in one run.

Each pair is interleaved (ours, theirs, theirs, ours) on the same tensors and outputs; the ratio is the result.

    python code/benchmarks/ch11_collectives.py [--ranks 2 4] [--bytes 65536 ...] [--rounds 9]
"""

import argparse

import torch
import torch.distributed as dist
from sysai.core.benchmark import compare
from sysai.core.device import describe_device
from sysai.distributed.launch import run
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.ring import ring_all_gather, ring_all_reduce, ring_reduce_scatter
from sysai.distributed.shared_memory_collectives import (
    shared_memory_all_gather,
    shared_memory_all_reduce,
    shared_memory_reduce_scatter,
)
from sysai.distributed.shared_memory_transport import SharedMemoryTransport
from sysai.distributed.staging import Staging

SIZES = (1 << 16, 1 << 20, 1 << 24, 1 << 26)


def programs(axis, nbytes):
    """Pairs of programs by name; all write to the same two tensors."""
    tensor = torch.zeros(nbytes // 4)  # zeros, because repeated sums of anything else overflow
    shard = torch.zeros(nbytes // 4 // axis.size)
    sockets, shared, staging = SocketTransport(axis), SharedMemoryTransport(axis), Staging(axis)

    def gloo_all_reduce():
        dist.all_reduce(tensor, group=axis.group)

    def gloo_two_halves():
        dist.reduce_scatter_single(shard, tensor, group=axis.group)
        dist.all_gather_single(tensor, shard, group=axis.group)

    def two_halves(reduce_scatter, all_gather, over):
        reduce_scatter(tensor, over, out=shard)
        all_gather(shard, over, out=tensor)

    return {
        "all-reduce, ring on sockets": (lambda: ring_all_reduce(tensor, sockets), gloo_all_reduce),
        "all-reduce, ring in shared memory": (lambda: ring_all_reduce(tensor, shared), gloo_all_reduce),
        "all-reduce, shared memory": (lambda: shared_memory_all_reduce(tensor, staging), gloo_all_reduce),
        "reduce-scatter + all-gather, ring on sockets": (
            lambda: two_halves(ring_reduce_scatter, ring_all_gather, sockets),
            gloo_two_halves,
        ),
        "reduce-scatter + all-gather, shared memory": (
            lambda: two_halves(shared_memory_reduce_scatter, shared_memory_all_gather, staging),
            gloo_two_halves,
        ),
    }


def measure(world, nbytes, rounds):
    """Compare every pair; the ranks go through them in step."""
    axis, results = world["world"], {}
    for name, (ours, theirs) in programs(axis, nbytes).items():
        dist.barrier()
        results[name] = compare({"ours": ours, "gloo": theirs}, rounds, warmup=2)
    return results


def main() -> None:
    """Measure and print, one line a pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--bytes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(describe_device("cpu"))
    for world_size in options.ranks:
        for nbytes in options.bytes:
            print(f"{world_size} ranks, {nbytes / 2**20:g} MiB of float32, one thread a rank")
            for name, result in run(measure, world_size, nbytes, options.rounds, timeout=600)[0].items():
                print(f"  {name}: {result}")


if __name__ == "__main__":
    main()
