"""A rank: it waits for a job, joins its process group, calls its function, and reports.

What the function prints is sent line by line while it runs. The stack of a rank that is stuck, even in C code
that waits for a message, can be asked for with the signal SIGUSR1.
"""

import contextlib
import faulthandler
import gc
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import cloudpickle
import torch
import torch.distributed as dist

from sysai.distributed.pool import Job
from sysai.distributed.scratch import VARIABLE as SCRATCH
from sysai.distributed.world import device_of_rank, join_world, keep_to_loopback


def serve_jobs(connection: Connection, scratch: Path) -> None:
    """A rank: do jobs until the notebook is gone."""
    keep_to_loopback()
    os.environ[SCRATCH] = str(scratch)
    stack = open(scratch / f"stack-{os.getpid()}", "w")  # noqa: SIM115
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False)
    send_lock = threading.Lock()

    def send(kind: str, value: object) -> None:
        with send_lock:
            connection.send((kind, value))

    sys.stdout, sys.stderr = _LineSender(send, "stdout"), _LineSender(send, "stderr")
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            report = _perform(connection.recv())
            sys.stdout.flush()
            sys.stderr.flush()
            send(*report)
            # the notebook answers when all ranks are done; after a failure it ends the ranks instead,
            # and until then this one's sockets stay open, so that the others stay where they were
            connection.recv()
            dist.destroy_process_group()
            gc.collect()


def _perform(job: Job) -> tuple[str, object]:
    """Join the job's process group and call the function: ("result", pickled) or ("error", (when, text))."""
    try:
        sys.path[:] = job.search_path
        os.chdir(job.directory)
        function, args, kwargs = pickle.loads(job.call)
        torch.set_num_threads(job.threads)
        torch.manual_seed(0)
        store = dist.FileStore(str(job.store), job.world_size)
        device = device_of_rank(job.device, job.rank)
        world = join_world(device, job.timeout, store=store, rank=job.rank, world_size=job.world_size)
        result = function(world, *args, **kwargs)
        return "result", _dump(result)
    except BaseException as error:
        # the frames of this file say nothing to the reader
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__.tb_next))
        return "error", (time.monotonic(), text)


def _dump(result: object) -> bytes:
    try:
        return cloudpickle.dumps(result)
    except Exception as error:
        raise TypeError(
            f"the function's result, a {type(result).__name__}, cannot be sent back ({error}): "
            "return tensors, numbers, text, or containers of these"
        ) from error


class _LineSender(io.TextIOBase):
    """A text stream that sends whole lines to the notebook."""

    def __init__(self, send, kind: str) -> None:
        self._send, self._kind, self._line = send, kind, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            self._send(self._kind, "\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """Send the unfinished line too."""
        if self._line:
            self._send(self._kind, self._line)
            self._line = ""
