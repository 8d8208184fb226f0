"""`sysai serve`, with a tiny model in place of the real one, as a process of its own: for signals and for memory.

Importing what a server needs takes seconds, so that one process does so and forks each server; it runs none itself.

    python tiny_server.py CONTROL       a socket, over which one message asks for one server, one at a time
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path


class Server:
    """A forked server, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid, self._control, self._code = pid, control, None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None) -> int:
        """The exit code, -N if signal N ended it.

        Raises:
            TimeoutError: it still runs.
        """
        if self._code is None:
            self._control.settimeout(timeout)
            self._code = int(self._control.recv(64))
        return self._code

    def poll(self) -> int | None:
        """As `wait`, or None while it runs."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None


class TinyServers:
    """`with TinyServers() as tiny_server: with tiny_server("--max-num-seqs", "16") as (process, url): ...`."""

    def __enter__(self):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        return self.serve

    def __exit__(self, *_) -> None:
        self._control.close()
        self._process.wait(60)

    @contextmanager
    def serve(self, *options: str, step_seconds: float = 0.0):
        """The process and its address; it is killed if it has not ended at the end of the block."""
        request = json.dumps([step_seconds, ["serve", "--port", "0", *options], dict(os.environ)]).encode()
        read, write = os.pipe()
        socket.send_fds(self._control, [request], [write])
        os.close(write)
        self._control.settimeout(120)
        server = Server(int(self._control.recv(64)), self._control)
        try:
            with open(read, encoding="utf-8") as output:
                lines = []
                for line in output:
                    lines.append(line)
                    if found := re.match(r"address +(http://\S+)/v1", line):
                        break
                else:
                    raise AssertionError(f"the server did not start: {lines}")
                yield server, found[1]
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGKILL)
            server.wait(60)


def serve_forks(control: socket.socket) -> None:
    """Fork a server for each request, tell its process id and, when it has ended, its exit code."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 2**20, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            run(*json.loads(request), *descriptors)
        os.close(descriptors[0])
        control.send(str(pid).encode())
        control.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def run(step_seconds: float, arguments: list[str], environment: dict[str, str], output: int) -> None:
    """Be the server; does not return."""
    sys.stdout = open(output, "w", encoding="utf-8")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    lifecycle.build_engine = lambda options: tiny_engine(step_seconds, max_num_seqs=options.max_num_seqs)
    try:
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)  # not through the clean-up of the process that was forked


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
    import torch
    from service import tiny_engine
    from sysai.cli import main
    from sysai.serving.server import lifecycle

    torch.set_num_threads(1)
    serve_forks(socket.socket(fileno=int(sys.argv[1])))
