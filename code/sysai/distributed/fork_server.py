"""A process that has imported torch and forks ranks on request.

Importing torch takes over a second, forking a process that has done so some 15 ms. The notebook cannot be
forked itself: after it has run torch operators its threads hold locks that a forked child would wait for
forever. So one server imports, runs no operator, and forks (what Android calls a zygote).

The server ends its ranks when asked, or when the process that it serves is gone, whichever way that ended.
"""

import contextlib
import gc
import importlib
import os
import shutil
import signal
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path


def serve(control_fd: int, scratch: Path, modules: list[str]) -> None:
    """Import torch and `modules`, then obey ("fork", None) and ("end", process ids) until the other side is gone."""
    for module in ("sysai.distributed.rank_process", *modules):
        importlib.import_module(module)
    gc.freeze()  # what is imported is never garbage: collections in the ranks need not look at it
    control = Connection(control_fd)
    living: set[int] = set()
    try:
        while True:
            command, argument = control.recv()
            if command == "fork":
                pid = _fork_rank(control, scratch)
                living.add(pid)
                control.send(pid)
            else:
                control.send({pid: _end(pid) for pid in argument})
                living.difference_update(argument)
    except EOFError:
        pass
    finally:
        for pid in living:
            _end(pid)
        shutil.rmtree(scratch, ignore_errors=True)


def _fork_rank(control: Connection, scratch: Path) -> int:
    fd = recv_handle(control)
    pid = os.fork()
    if pid:
        os.close(fd)
        return pid
    try:
        from sysai.distributed.rank_process import serve_jobs

        control.close()
        serve_jobs(Connection(fd), scratch)
    finally:
        os._exit(0)  # not through the server's own clean-up


def _end(pid: int) -> int:
    """Kill and reap: the exit code, or minus the signal that the process died of (its own, if it was dead before)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
