"""Joining the process group of a job: the mesh with the one axis "world" that every distributed function is given.

A rendezvous tells the ranks where to find each other: a file that all can see, or, under torchrun, the address
and port of a store that it names in the environment. Messages then go by gloo on CPUs and by NCCL on CUDA devices.
"""

import os
import platform
from datetime import timedelta

import torch
import torch.distributed as dist

from sysai.distributed.mesh import Mesh

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


def join_world(device: torch.device, timeout: float, **rendezvous) -> Mesh:
    """Join the default process group and return the mesh of all its ranks.

    Args:
        device: this rank's device; its kind chooses gloo or NCCL.
        timeout: seconds after which a message that does not come is an error.
        rendezvous: what `torch.distributed.init_process_group` takes, e.g. store, rank and world_size.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(BACKENDS[device.type], timeout=timedelta(seconds=timeout), **rendezvous)
    return Mesh({"world": dist.get_world_size()}, timeout)


def keep_to_loopback() -> None:
    """Let gloo listen on this machine's loopback interface only, where no other machine can reach it."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if platform.system() == "Darwin" else "lo"


def device_of_rank(kind: str, local_rank: int) -> torch.device:
    """The device of the `local_rank`-th process of a machine: "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises:
        ValueError: unknown kind, or fewer CUDA devices than processes.
    """
    if kind not in ("auto", *BACKENDS):
        raise ValueError(f"unknown device {kind!r}: use 'auto', 'cpu' or 'cuda'")
    devices = torch.cuda.device_count()
    if kind == "cpu" or (kind == "auto" and not devices):
        return torch.device("cpu")
    if local_rank >= devices:
        raise ValueError(
            f"process {local_rank} of this machine needs a CUDA device of its own, but there are {devices}: "
            f"start at most {devices} processes here, or use device='cpu'"
        )
    return torch.device("cuda", local_rank)
