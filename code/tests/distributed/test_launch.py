"""What `run` promises: results in order, output, and an end to every fault in bounded time with nothing left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbclient
import nbformat
import psutil
import pytest
import torch
import torch.distributed as dist
from sysai.distributed import launch
from sysai.distributed.launch import RankError, run


def sum_of_ranks(world):
    total = torch.tensor([world.rank])
    dist.all_reduce(total, group=world["world"].group)
    return total


def pids_of_ranks(world_size):
    return run(lambda world: os.getpid(), world_size)


def assert_next_job_works(old_pids=()):
    assert not any(map(psutil.pid_exists, old_pids))
    assert run(sum_of_ranks, 3) == [torch.tensor([3])] * 3


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_results_come_in_the_order_of_ranks(world_size):
    answers = run(lambda world, a, b: (world.rank, world.size, a + b), world_size, 1, b=2)
    assert answers == [(rank, world_size, 3) for rank in range(world_size)]
    assert run(sum_of_ranks, world_size)[0] == sum(range(world_size))


def test_ranks_are_kept_and_grow():
    two = pids_of_ranks(2)
    four = pids_of_ranks(4)
    assert four[:2] == two == pids_of_ranks(2)
    assert len(set(four)) == 4
    assert os.getpid() not in four


def test_tensors_come_back_as_copies():
    gradient = torch.arange(6.0).reshape(2, 3).T
    (back,) = run(lambda world, x: x, 1, gradient)
    assert torch.equal(back, gradient)
    assert not back.is_shared()


def test_each_job_has_one_thread_and_the_same_seed_unless_told():
    def probe(world):
        return torch.get_num_threads(), torch.rand(1).item()

    (first, second), again, (more, _) = run(probe, 2), run(probe, 2), run(probe, 2, threads=2)
    assert first == second == again[0]
    assert (first[0], more[0]) == (1, 2)


def test_a_class_of_the_caller_comes_back_as_itself():
    class Local:
        def __init__(self, value):
            self.value = value

    (answer,) = run(lambda world: Local(7), 1)
    assert isinstance(answer, Local)
    assert answer.value == 7


def test_an_edited_file_is_sent_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for value in (1, 2):
        (tmp_path / "loose_file.py").write_text(
            f"def helper():\n    return {value}\ndef f(world):\n    return helper()\n"
        )
        sys.modules.pop("loose_file", None)
        import loose_file

        Path(loose_file.__cached__).unlink(missing_ok=True)
        assert run(loose_file.f, 1) == [value]


def test_output_appears_with_the_rank_in_front(capsys):
    def talk(world):
        print("one\ntwo")
        print("no end of line", end="")
        print("warning", file=sys.stderr)

    run(talk, 2)
    out, err = capsys.readouterr()
    for rank in range(2):
        mine = [line for line in out.splitlines() if line.startswith(f"[rank {rank}] ")]
        assert mine == [f"[rank {rank}] {text}" for text in ("one", "two", "no end of line")]
        assert f"[rank {rank}] warning\n" in err


def test_an_exception_comes_back_with_its_traceback_and_where_the_others_were():
    def fail_on_one(world):
        if world.rank == 1:
            raise KeyError("lost weight")
        dist.barrier()

    pids = pids_of_ranks(3)
    with pytest.raises(RankError) as caught:
        run(fail_on_one, 3)
    message = str(caught.value)
    assert caught.value.rank == 1
    assert "KeyError: 'lost weight'" in message
    assert 'raise KeyError("lost weight")' in message
    for other in (0, 2):
        assert f"rank {other} was at\n" in message
    assert "in barrier" in message
    assert "rank_process.py" not in message
    assert_next_job_works(pids)


def test_the_first_of_several_errors_is_reported():
    def fail_later(world):
        if world.rank == 2:
            raise ValueError("the cause")
        time.sleep(0.05)
        raise ValueError("a consequence")

    with pytest.raises(RankError, match="rank 2 raised") as caught:
        run(fail_later, 3)
    assert "rank 0 failed too: ValueError: a consequence" in str(caught.value)


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3)])
def test_a_dead_rank_ends_the_job_soon(end):
    def die_on_one(world):
        dist.barrier()
        if world.rank == 1:
            end()
        dist.barrier()

    pids = pids_of_ranks(3)
    began = time.monotonic()
    with pytest.raises(RankError, match=r"rank 1 died: (killed by SIGKILL|it left with exit code 3)") as caught:
        run(die_on_one, 3)
    assert time.monotonic() - began < 2
    assert caught.value.rank == 1
    assert_next_job_works(pids)


def test_a_hanging_rank_ends_the_job_at_the_timeout():
    def hang_on_zero(world):
        if world.rank == 0:
            time.sleep(60)
        dist.barrier()

    pids = pids_of_ranks(2)
    began = time.monotonic()
    with pytest.raises(RankError, match=r"no result of rank 0, 1 after 0.5 s") as caught:
        run(hang_on_zero, 2, timeout=0.5)
    assert 0.5 <= time.monotonic() - began < 2
    assert "in hang_on_zero" in str(caught.value)
    assert_next_job_works(pids)


def test_a_rank_that_prints_for_ever_ends_too(capsys):
    def chatter(world):
        while True:
            print("again")

    with pytest.raises(RankError, match="no result"):
        run(chatter, 1, timeout=0.3)
    assert "[rank 0] again" in capsys.readouterr().out


def test_a_stopped_rank_ends_too():
    pids = pids_of_ranks(2)
    with pytest.raises(RankError, match="no result of rank 0, 1"):
        run(lambda world: os.kill(os.getpid(), signal.SIGSTOP), 2, timeout=0.3)
    assert_next_job_works(pids)


def test_what_cannot_be_pickled_is_refused_clearly():
    lock = threading.Lock()
    pids = pids_of_ranks(2)
    with pytest.raises(TypeError, match=r"cannot be sent to other processes .*inside the function"):
        run(lambda world: lock, 1)
    with pytest.raises(TypeError, match="cannot be sent"):
        run(sum_of_ranks, 1, lock)
    assert pids_of_ranks(2) == pids  # nothing was started, nothing had to end
    with pytest.raises(RankError, match=r"result, a lock, cannot be sent back .*return tensors"):
        run(lambda world: threading.Lock(), 2)
    assert_next_job_works(pids)


def test_bad_numbers_are_refused():
    for arguments in ({"world_size": 0}, {"world_size": 1, "timeout": 0}, {"world_size": 1, "threads": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            run(sum_of_ranks, **arguments)
    with pytest.raises(RankError, match="unknown device 'tpu'"):
        run(sum_of_ranks, 1, device="tpu")


def test_ctrl_c_ends_the_ranks_and_the_next_job_works():
    pids = pids_of_ranks(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(lambda world: time.sleep(60), 2)
    timer.join()
    assert_next_job_works(pids)


def test_a_killed_server_is_replaced():
    ranks = [psutil.Process(pid) for pid in pids_of_ranks(2)]
    server = ranks[0].parent()
    server.kill()
    server.wait(5)
    assert_next_job_works()
    assert not psutil.wait_procs(ranks, timeout=5)[1]


def test_stop_leaves_nothing():
    before = {child.pid for child in psutil.Process().children(recursive=True)} - set(pids_of_ranks(4))
    launch.stop()
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert after <= before
    assert_next_job_works()


def test_ranks_listen_on_loopback_only_and_close_their_ports():
    def ports(world):
        sum_of_ranks(world)
        return [c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]

    assert {address.ip for listening in run(ports, 2) for address in listening} == {"127.0.0.1"}
    pids = pids_of_ranks(2)
    time.sleep(0.2)
    assert not any(psutil.Process(pid).net_connections("inet") for pid in pids)


SCRIPT = """
import os, time
from sysai.distributed.launch import run

def work(world):
    print("pid", os.getpid(), flush=True)
    time.sleep({seconds})
    return world.rank

print(run(work, 3), flush=True)
"""


def test_a_plain_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(seconds=0))
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "[0, 1, 2]"
    pids = [int(line.split()[-1]) for line in answer.stdout.splitlines() if "pid" in line]
    assert len(pids) == 3
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize("kill", [os.kill, os.killpg])  # Jupyter kills the process group of a kernel
def test_nothing_is_left_when_the_parent_is_killed(tmp_path, kill):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(seconds=60))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"SYSAI_SCRATCH": str(temporary)},
        start_new_session=True,
    ) as parent:
        pids = [int(parent.stdout.readline().split()[-1]) for _ in range(3)]
        everyone = psutil.Process(parent.pid).children(recursive=True)
        assert set(pids) < {process.pid for process in everyone}
        assert list(temporary.iterdir())
        kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(everyone, timeout=5)
    assert not alive
    assert not list(temporary.iterdir())


def test_a_function_of_a_notebook_cell_runs_and_its_output_appears_in_the_cell():
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from sysai.distributed.launch import run\nimport torch\nscale = 3"),
            nbformat.v4.new_code_cell("torch.ones(600, 600) @ torch.ones(600, 600)  # threads that a fork would miss"),
            nbformat.v4.new_code_cell(
                "def double(world, x):\n    print('here', flush=True)\n    return scale * x + world.rank\n"
                "run(double, 3, torch.ones(2))"
            ),
            nbformat.v4.new_code_cell("scale = 4\nrun(double, 2, torch.ones(1))"),
        ]
    )
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = [{o.output_type: o.get("text") or o.data["text/plain"] for o in c.outputs} for c in notebook.cells]
    assert sorted(outputs[2]["stream"].splitlines()) == [f"[rank {rank}] here" for rank in range(3)]
    assert outputs[2]["execute_result"] == "[tensor([3., 3.]), tensor([4., 4.]), tensor([5., 5.])]"
    assert outputs[3]["execute_result"] == "[tensor([4.]), tensor([5.])]"
