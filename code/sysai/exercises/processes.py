"""Processes for answers: forked from a zygote on Linux, started afresh elsewhere; watched and removed by the grader.

Elsewhere than on Linux a fork after torch has been imported is not safe (macOS) or does not exist (Windows).
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

_LINUX = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS = 120.0  # importing torch from a cold disk
_END_SECONDS = 5.0
_PRIVATE = ("GITHUB_", "ACTIONS_", "RUNNER_")  # what a workflow reports through, and its tokens


class LostZygote(Exception):  # noqa: N818
    """The process that answers are forked from has been killed or stopped."""


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own (Linux), so that none can hide by daemonizing."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


class Process:
    """One started process: its pid, its three pipes as file descriptors, and its end."""

    def __init__(self, pid: int, requests: int, replies: int, prints: int):
        self.pid, self.requests, self.replies, self.prints = pid, requests, replies, prints

    def exit_code(self, timeout: float) -> int | None:
        """Its exit code, -N if signal N ended it; None if it still runs after `timeout` seconds."""
        raise NotImplementedError


class Forked(Process):
    """A copy of a zygote, which tells when it has ended."""

    def __init__(self, zygote: "Zygote", *args: int):
        super().__init__(*args)
        self.zygote, self._code = zygote, None

    def exit_code(self, timeout: float) -> int | None:
        """See `Process`.

        Raises:
            LostZygote: there is nobody left to tell.
        """
        if self._code is None:
            line = self.zygote.read_line(timeout)
            self._code = int(line.split()[1]) if line else None
        return self._code


class Spawned(Process):
    """A child that is a new Python process, where there is no zygote to fork."""

    def __init__(self):
        ours, theirs = _pipes()
        command = [sys.executable, "-m", "sysai.exercises.child"]
        try:
            stdin, stdout, stderr = theirs
            self.popen = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=_environment())
        finally:
            _close(theirs)
        super().__init__(self.popen.pid, *ours)

    def exit_code(self, timeout: float) -> int | None:
        """The exit code, None if the process has not ended after `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.popen.wait(timeout)
        return None


class Zygote:
    """The grader's end of `sysai.exercises.zygote`, which has imported the modules `preload`."""

    def __init__(self, preload: tuple[str, ...]):
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "sysai.exercises.zygote", str(theirs.fileno()), *preload]
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the grader's
        )
        theirs.close()
        self._unread = b""

    @property
    def pid(self) -> int:
        """Process id of the zygote itself."""
        return self.popen.pid

    def fork(self) -> Forked:
        """A new copy.

        Raises:
            LostZygote: it does not answer.
        """
        ours, theirs = _pipes()
        try:
            socket.send_fds(self.socket, [b"f"], theirs)
            line = self.read_line(_START_SECONDS)
        except OSError:
            line = None
        finally:
            _close(theirs)
        if not line:
            _close(ours)
            raise LostZygote
        return Forked(self, int(line.split()[1]), *ours)

    def read_line(self, timeout: float) -> bytes | None:
        """The next message, or None if none comes in `timeout` seconds.

        Raises:
            LostZygote: it has ended.
        """
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            try:
                data = self.socket.recv(4096)
            except OSError:
                data = b""
            if not data:
                raise LostZygote
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def close(self) -> None:
        """End the zygote."""
        self.socket.close()
        self.popen.kill()
        self.popen.wait()


class Family:
    """The processes that come into being while an answer is checked: all new descendants of the grader.

    A check must therefore start no processes of its own.
    """

    def __init__(self):
        self.before = set(psutil.Process().children(recursive=True))
        self._resident: dict[int, int] = {}
        self._known = {process.pid for process in self.before}

    def members(self) -> list[psutil.Process]:
        """Those alive, children of children included."""
        new = [p for p in psutil.Process().children(recursive=True) if p not in self.before]
        return [p for p in new if _is_alive(p)]

    def memory(self, pid: int, members: list[psutil.Process]) -> int:
        """Resident bytes of `members`, less what the process `pid` had at first: the interpreter and torch."""
        total = 0
        for process in members:
            with contextlib.suppress(psutil.Error):
                resident = process.memory_info().rss
                baseline = self._resident.setdefault(pid, resident)
                total += max(0, resident - baseline)
        return total

    def note_baseline(self, pid: int) -> None:
        """Take the memory that `pid` has now as what every process of the family starts with."""
        self._known.add(pid)  # whoever started it asks for its end
        with contextlib.suppress(psutil.Error):
            self._resident[pid] = psutil.Process(pid).memory_info().rss

    def kill(self) -> None:
        """End all members. They are stopped before they are killed, so that none starts another in between."""
        killed: set[psutil.Process] = set()
        deadline = time.monotonic() + _END_SECONDS
        while ((members := self.members()) or self.bury(kill=True)) and time.monotonic() < deadline:
            for send in (psutil.Process.suspend, psutil.Process.kill):
                for process in members:
                    with contextlib.suppress(psutil.Error):
                        send(process)
            killed.update(members)
            self._reap(members)
        self._reap(killed)

    def bury(self, kill: bool = False) -> int:
        """How many orphans there are, dead or alive (Linux); the dead are gone from the process table afterwards.

        A chain of processes, each of which starts the next and ends, is never seen alive: it is seen here. With
        `kill` orphans are ended by their group, in which none can start another in between.
        """
        orphans = _children_now() - self._known
        for pid in orphans:
            with contextlib.suppress(OSError):
                if kill and (group := os.getpgid(pid)) != os.getpgrp():
                    os.killpg(group, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        return len(orphans)

    def _reap(self, processes) -> None:
        """Adopted orphans stay in the process table until their new parent has asked for them."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.wait(0.2)


def start(zygote: Zygote | None) -> Process:
    """A new process for an answer, from `zygote` where there is one.

    Raises:
        LostZygote: it does not answer.
    """
    return zygote.fork() if zygote else Spawned()


def zygotes_work() -> bool:
    """Whether this system forks safely."""
    return _LINUX


def signal_name(code: int) -> str:
    """`SIGSEGV` for -11; the number itself for an exit code."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name if code < 0 else str(code)
    return str(code)


def _pipes() -> tuple[list[int], list[int]]:
    """Both ends of three pipes: requests to the child, replies from it, and what it prints."""
    ends = [os.pipe() for _ in range(3)]
    (requests, to_requests), (replies, to_replies), (prints, to_prints) = ends
    return [to_requests, replies, prints], [requests, to_replies, to_prints]


def _children_now() -> set[int]:
    """Pids of this process's own children, the dead among them too (Linux; elsewhere nobody is adopted)."""
    found: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, file.read_text(encoding="ascii").split()))
    return found


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _environment() -> dict[str, str]:
    """The user's, without what reports to a workflow; one thread and the CPU, so that counts are the same everywhere.

    A package that is imported from a folder, without being installed, is found there by the child as well.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return kept | {
        "PYTHONPATH": path,
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
