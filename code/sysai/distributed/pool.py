"""The notebook's side of a pool of ranks: sends them jobs, gathers what they report, and ends them when one fails.

Ranks stay alive between jobs, so that a job costs a new process group and not new processes. After any failure
all ranks are killed, because nobody knows which messages are still under way, and the next job forks new ones.
Production launchers (torchrun, Slurm) restart the whole job from its last checkpoint for the same reason.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import TextIO

from sysai.distributed.scratch import new_scratch

GRACE = 0.2  # seconds in which a rank's death is seen after the errors that it causes on others
FRAMES_SHOWN = 4


@dataclass(frozen=True)
class Job:
    """The work of one rank: `call` is a pickled (function, args, kwargs), `store` the file where the ranks meet."""

    call: bytes
    world_size: int
    store: Path
    device: str
    threads: int
    timeout: float
    directory: str
    search_path: tuple[str, ...]
    rank: int = -1


class RankError(RuntimeError):
    """A rank failed, died or did not finish; the message holds its traceback and where the other ranks were.

    `rank` is the one at fault; after a timeout it is the first that had not finished.
    """

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(message)
        self.rank = rank


@dataclass
class _Rank:
    """One process of the pool."""

    pid: int
    connection: Connection


class Pool:
    """A fork server and its ranks. `modules` are imported by the server beside torch, once for all ranks."""

    def __init__(self, modules: Iterable[str] = ()) -> None:
        self.owner = os.getpid()
        self._scratch = new_scratch()
        self._jobs_done = 0
        self._ranks: list[_Rank] = []
        self._control, theirs = Pipe()
        program = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "from pathlib import Path; from sysai.distributed.fork_server import serve\n"
            f"serve({theirs.fileno()}, Path({str(self._scratch)!r}), {list(modules)!r})"
        )
        # in a session of its own: who kills the notebook's whole process group leaves the server to clean up
        self._server = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether the server runs, and belongs to this process (a fork of the notebook must not use it)."""
        return self.owner == os.getpid() and self._server.poll() is None

    def close(self) -> None:
        """End the server and all ranks, and wait until they are gone."""
        self._control.close()
        for rank in self._ranks:
            rank.connection.close()
        self._server.wait()
        _kill(self._ranks)  # the server has done so, unless it was killed itself
        shutil.rmtree(self._scratch, ignore_errors=True)

    def run(self, call: bytes, world_size: int, *, device: str, threads: int, timeout: float) -> list[bytes]:
        """Let `world_size` ranks do one call; return their pickled results in order.

        Raises:
            RankError: a rank raised an exception, died, or was not ready after `timeout` seconds.
        """
        self._jobs_done += 1
        store = self._scratch / f"store-{self._jobs_done}"
        job = Job(call, world_size, store, device, threads, timeout, os.getcwd(), tuple(sys.path))
        try:
            while len(self._ranks) < world_size:
                self._ranks.append(self._fork())
            ranks = self._ranks[:world_size]
            for number, rank in enumerate(ranks):
                rank.connection.send(replace(job, rank=number))
            results = self._gather(ranks, timeout)
            for rank in ranks:
                rank.connection.send("all are done")
            return results
        except BaseException:  # also Ctrl-C
            self._end_ranks()
            raise
        finally:
            store.unlink(missing_ok=True)

    def _fork(self) -> _Rank:
        ours, theirs = Pipe()
        try:
            self._control.send(("fork", None))
            send_handle(self._control, theirs.fileno(), self._server.pid)
            pid = self._control.recv()
        except (EOFError, OSError):
            raise RuntimeError("the process that forks ranks has ended; what it printed last says why") from None
        finally:
            theirs.close()
        return _Rank(pid, ours)

    def _end_ranks(self) -> dict[int, int]:
        """Kill all ranks; return the exit code of each process (minus the signal that it died of)."""
        ranks, self._ranks = self._ranks, []
        for rank in ranks:
            rank.connection.close()
        try:
            self._control.send(("end", [rank.pid for rank in ranks]))
            exit_codes = self._control.recv()
        except (EOFError, OSError):  # the server is gone: nobody else will end its children
            _kill(ranks)
            return {}
        shutil.rmtree(self._scratch)  # what they had there, and had no time to remove
        self._scratch.mkdir(mode=0o700)
        return exit_codes

    def _gather(self, ranks: list[_Rank], timeout: float) -> list[bytes]:
        """Print what the ranks print, until each has reported its result or one has failed."""
        numbers = {rank.connection: number for number, rank in enumerate(ranks)}
        results: dict[int, bytes] = {}
        errors: dict[int, tuple[float, str]] = {}
        dead: set[int] = set()
        deadline = time.monotonic() + timeout
        while len(results) < len(ranks):
            left = deadline - time.monotonic()
            ready = wait([c for c, number in numbers.items() if number not in dead], max(left, 0))
            if not ready or left < 0:
                raise self._failure(ranks, results, errors, dead, timeout)
            for connection in ready:
                number = numbers[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError):
                    dead.add(number)
                    continue
                if kind == "result":
                    results[number] = value
                elif kind == "error":
                    errors[number] = value
                else:
                    _print(number, value, getattr(sys, kind))
            if errors or dead:
                deadline = min(deadline, time.monotonic() + GRACE)
        return [results[number] for number in range(len(ranks))]

    def _failure(self, ranks, results, errors, dead, timeout) -> RankError:
        """End the ranks and say what went wrong: a death explains errors elsewhere, the first error the later ones."""
        busy = [n for n in range(len(ranks)) if n not in results and n not in errors and n not in dead]
        stacks = self._stacks({number: ranks[number].pid for number in busy})
        exit_codes = self._end_ranks()
        where = dict.fromkeys(results, "finished")
        where |= {number: f"failed too: {text.strip().splitlines()[-1]}" for number, (_, text) in errors.items()}
        where |= dict.fromkeys(dead, "died too")
        where |= {number: f"was at\n{stack}" for number, stack in stacks.items()}
        if dead:
            culprit = min(dead)
            what = f"rank {culprit} died: {_cause(exit_codes.get(ranks[culprit].pid))}"
        elif errors:
            culprit = min(errors, key=lambda number: errors[number][0])
            what = f"rank {culprit} raised an exception\n{errors[culprit][1].rstrip()}"
        else:
            culprit = min(busy)
            late = ", ".join(map(str, busy))
            what = f"no result of rank {late} after {timeout:g} s (pass a longer timeout= if the work needs more)"
        others = [
            f"rank {number} {where[number]}" for number in sorted(where) if number != culprit or not (dead or errors)
        ]
        return RankError(culprit, "\n".join([what, *others]))

    def _stacks(self, pids: dict[int, int]) -> dict[int, str]:
        """The innermost frames of each busy rank, by number."""
        for pid in pids.values():
            os.kill(pid, signal.SIGUSR1)
        files = {number: self._scratch / f"stack-{pid}" for number, pid in pids.items()}
        end = time.monotonic() + GRACE
        while time.monotonic() < end and not all(_is_complete(path) for path in files.values()):
            time.sleep(0.005)
        return {number: _innermost(path.read_text()) for number, path in files.items()}


def _is_complete(stack: Path) -> bool:
    return "serve_jobs" in stack.read_text()


def _innermost(stack: str) -> str:
    """The frames of a faulthandler dump, innermost first, without the launcher's own at the outer end."""
    frames = [line.strip() for line in stack.splitlines() if line.startswith("  File")]
    own = [i for i, frame in enumerate(frames) if "rank_process.py" in frame]
    frames = frames[: own[0]] if own else frames
    return "\n".join(f"    {frame}" for frame in frames[:FRAMES_SHOWN]) or "    no Python code"


def _cause(exit_code: int | None) -> str:
    if exit_code is None:
        return "the process that forks ranks died too"
    if exit_code >= 0:
        return f"it left with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"killed by {name}" + (" (the system does this when memory runs out)" if name == "SIGKILL" else "")


def _print(rank: int, text: str, stream: TextIO) -> None:
    stream.write("".join(f"[rank {rank}] {line}\n" for line in text.split("\n")))


def _kill(ranks: list[_Rank]) -> None:
    for rank in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rank.pid, signal.SIGKILL)
