"""The same function under torchrun, as on a cluster, here with two processes on loopback."""

import os
import socket
import subprocess
import sys
import time

import pytest

SCRIPT = """
import os, sys, torch
from sysai.distributed.collectives import Communicator
from sysai.distributed.launch import main
from sysai.distributed.mesh import Mesh
from sysai.distributed.p2p import SocketTransport
from sysai.distributed.ring import ring_all_reduce

def work(world, start, fail=False):
    if fail and world.rank == 1:
        raise KeyError("lost weight")
    mesh = Mesh({"dp": world.size})
    ring = ring_all_reduce(torch.tensor([start + world.rank]), SocketTransport(mesh["dp"]))
    shared = Communicator(world["world"]).all_reduce(torch.tensor([start + world.rank]))
    return f"rank {world.rank} of {world.size} on {world.device}: {ring.item()} {shared.item()}"

sys.stdout.write(main(work, 10, fail="fail" in sys.argv) + "\\n")  # one write: the ranks share a pipe
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def torchrun(script, *options, arguments=()):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *options, script, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def test_the_function_runs_under_torchrun(script):
    answer = torchrun(script, "--standalone")
    assert answer.returncode == 0, answer.stderr
    assert sorted(answer.stdout.splitlines()) == [f"rank {rank} of 2 on cpu: 21 21" for rank in range(2)]


def test_an_exception_on_one_rank_ends_all(script):
    answer = torchrun(script, "--standalone", arguments=["fail"])
    assert answer.returncode != 0
    assert "KeyError: 'lost weight'" in answer.stderr


def test_a_port_that_is_taken_is_a_clear_error_soon(script):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = os.environ | {
            "RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        began = time.monotonic()
        answer = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, env=environment)
    assert answer.returncode != 0
    assert f"port {port} of 127.0.0.1 is taken: give torchrun another --master-port" in answer.stderr
    assert time.monotonic() - began < 30


def test_without_torchrun_it_says_how_to_start(script):
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0
    assert "torchrun --standalone --nproc-per-node 2" in answer.stderr
    assert "or call `run`" in answer.stderr
