"""Run a function on several ranks: processes of this machine from a notebook, or those of a cluster under torchrun.

    def greet(world):
        return f"rank {world.rank} of {world.size}"

    run(greet, 4)            # in a notebook or a script
    main(greet)              # in a script that torchrun starts

The function gets the mesh of all ranks as its first argument and is the same in both cases. `run` keeps its
processes for the next call: the first costs the import of torch, later ones some milliseconds.
"""

import atexit
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterable

import cloudpickle

from sysai.distributed.pool import Pool, RankError

__all__ = ["RankError", "main", "run", "start", "stop"]

_lock = threading.Lock()
_pool: Pool | None = None


def run(
    function: Callable, world_size: int, *args, device: str = "cpu", threads: int = 1, timeout: float = 60.0, **kwargs
) -> list:
    """Call `function(world, *args, **kwargs)` on `world_size` processes of this machine.

    `world` is the `Mesh` with the one axis "world". Every job starts with torch's seed 0 on every rank. A function
    of a notebook or a script is sent by value, one of a package by name. What ranks print appears here, with the
    rank in front.

    Args:
        device: "cpu", or "cuda" for one CUDA device a rank.
        threads: torch's threads on each rank.
        timeout: seconds after which a job that is not done is ended.

    Returns:
        What the ranks returned, in order; tensors are copies.

    Raises:
        RankError: a rank raised an exception, died, or was not done in time. All ranks are ended.
        TypeError: the function or an argument cannot be pickled.
        ValueError: world_size, threads or timeout is not positive.
    """
    if world_size < 1 or threads < 1 or timeout <= 0:
        raise ValueError(f"world_size {world_size}, threads {threads} and timeout {timeout} must be positive")
    call = _pickle_call(function, args, kwargs)
    with _lock:
        results = _living_pool().run(call, world_size, device=device, threads=threads, timeout=timeout)
    return [pickle.loads(result) for result in results]


def start(modules: Iterable[str] = ()) -> None:
    """Let a server import torch and `modules` in the background, so that the first `run` need not wait for it.

    Worth a line at the head of a notebook: the server imports on one core while the notebook imports on another.
    What jobs import slowly, such as "torch._dynamo" (which torch's optimizers import), is imported once for all.
    """
    with _lock:
        _living_pool(modules)


def stop() -> None:
    """End all ranks and their server. The next `run` starts new ones, with the package's code as it is then."""
    global _pool
    with _lock:
        if _pool and _pool.owner == os.getpid():
            _pool.close()
        _pool = None


def main(function: Callable, *args, device: str = "auto", timeout: float = 600.0, **kwargs) -> object:
    """Call `function(world, *args, **kwargs)` as the rank that torchrun made of this process; return its result.

        torchrun --nproc-per-node 2 script.py        # on each node of a cluster: --nnodes, --rdzv-endpoint

    Args:
        device: "cpu" (messages by gloo), "cuda" (one device a process, NCCL), "auto": CUDA where there is one.
        timeout: seconds after which a message that does not come is an error.

    Raises:
        RuntimeError: this process was not started by torchrun, or the port of the rendezvous is taken.
        ValueError: fewer CUDA devices than processes on this node.
    """
    # not at the top: `start` is most useful before the notebook itself imports torch
    import torch.distributed as dist

    from sysai.distributed.world import device_of_rank, join_world

    missing = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - os.environ.keys()
    if missing:
        raise RuntimeError(
            f"no {', '.join(sorted(missing))} in the environment: start this script with "
            f"`torchrun --standalone --nproc-per-node 2 {sys.argv[0]}`, or call `run` for processes of this machine"
        )
    own_device = device_of_rank(device, int(os.environ.get("LOCAL_RANK", 0)))
    try:
        world = join_world(own_device, timeout)
    except dist.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise RuntimeError(
            f"port {os.environ['MASTER_PORT']} of {os.environ['MASTER_ADDR']} is taken: give torchrun another "
            "--master-port, or --standalone, which finds a free one"
        ) from error
    try:
        return function(world, *args, **kwargs)
    finally:
        dist.destroy_process_group()


def _living_pool(modules: Iterable[str] = ()) -> Pool:
    global _pool
    if sys.platform == "win32":
        raise RuntimeError("`run` needs a system that can fork: use WSL or Colab, or start `main` with torchrun")
    if _pool and not _pool.is_alive:
        if _pool.owner == os.getpid():
            _pool.close()
        _pool = None
    if _pool is None:
        _pool = Pool(modules)
    return _pool


def _pickle_call(function: Callable, args: tuple, kwargs: dict) -> bytes:
    """Pickle by value what stands in a loose file: ranks, which outlive an edit, would use an old import of it."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    loose = isinstance(function, types.FunctionType) and module and not module.__package__
    by_value = loose and module.__name__ != "__main__"
    try:
        if by_value:
            cloudpickle.register_pickle_by_value(module)
        return cloudpickle.dumps((function, args, kwargs))
    except Exception as error:
        raise TypeError(
            f"{getattr(function, '__name__', function)} or its arguments cannot be sent to other processes ({error}): "
            "make what cannot be pickled (locks, files, connections) inside the function"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


atexit.register(stop)
