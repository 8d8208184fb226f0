"""The same function under torchrun, as on a cluster, here with two processes on loopback."""

import os
import socket
import subprocess
import sys

import pytest
import torch.distributed as dist
from sysai.distributed.launch import main

SCRIPT = """
import os, sys, torch
from sysai.distributed.collectives import Communicator
from sysai.distributed.launch import main
from sysai.distributed.mesh import Mesh
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.ring import ring_all_reduce

def work(world, start):
    mesh = Mesh({"dp": world.size})
    ring = ring_all_reduce(torch.tensor([start + world.rank]), SocketTransport(mesh["dp"]))
    shared = Communicator(world["world"]).all_reduce(torch.tensor([start + world.rank]))
    text = f"rank {world.rank} of {world.size} on {world.device}: {ring.item()} {shared.item()}"
    sys.stdout.write(text + "\\n")  # one write: the ranks share a pipe
    sys.stdout.flush()
    torch.distributed.barrier()
    if world.rank == 1:
        raise KeyError("lost weight")
    ring_all_reduce(torch.ones(1), SocketTransport(mesh["dp"]))

main(work, 10)
"""


def test_the_function_runs_under_torchrun_and_an_exception_on_one_rank_ends_all(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert sorted(answer.stdout.splitlines()) == [f"rank {rank} of 2 on cpu: 21 21" for rank in range(2)], answer.stderr
    assert answer.returncode != 0
    assert "KeyError: 'lost weight'" in answer.stderr


@pytest.fixture
def rendezvous(monkeypatch):
    """A socket of the port where this process, as torchrun's only one, is to meet itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        yield free


def test_what_the_function_returns_or_raises_comes_out_and_its_group_is_ended(rendezvous):
    rendezvous.close()
    assert main(lambda world, x, y: (world.rank, world.size, x + y), 1, y=2, device="cpu") == (0, 1, 3)
    assert not dist.is_initialized()
    with pytest.raises(ZeroDivisionError):
        main(lambda world: 1 // world.rank, device="cpu")
    assert not dist.is_initialized()


def test_a_port_that_is_taken_is_a_clear_error(rendezvous):
    rendezvous.listen()
    port = rendezvous.getsockname()[1]
    with pytest.raises(RuntimeError, match=f"port {port} of 127.0.0.1 is taken: give torchrun another --master-port"):
        main(print, device="cpu")


def test_without_torchrun_it_says_how_to_start(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match=r"torchrun --standalone --nproc-per-node 2 .*or call `run`"):
        main(print)
