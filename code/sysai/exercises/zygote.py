"""A process that has imported what answers need and waits to be copied: a fork costs 10 ms, importing torch seconds.

It is asked over a socket. One message, any byte with three file descriptors (requests, replies, prints), makes it
fork; it answers ``pid N`` at once and ``end STATUS`` when that process is over. It never runs an answer itself.
"""

import ctypes
import importlib
import os
import signal
import socket
import sys

from sysai.exercises import child

_PR_SET_PDEATHSIG = 1


def main(control_descriptor: int, preload: list[str]) -> None:
    """Serve forks until the grader closes its end of the socket."""
    _die_with_parent()
    control = socket.socket(fileno=control_descriptor)
    for name in preload:
        importlib.import_module(name)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            _become_child(control, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(b"pid %d\n" % pid)
        _, status = os.waitpid(pid, 0)
        control.sendall(b"end %d\n" % os.waitstatus_to_exitcode(status))


def _become_child(control: socket.socket, descriptors: list[int]) -> None:
    try:
        os.setsid()
        _die_with_parent()
        control.close()
        child.main(*descriptors)
    finally:
        os._exit(1)


def _die_with_parent() -> None:
    """A grader that is killed leaves nothing running."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
