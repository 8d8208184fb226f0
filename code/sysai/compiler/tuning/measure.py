"""Measure candidates in a process of their own: one that hangs, crashes or computes nonsense costs a time limit.

The process is kept for one candidate after the other, since to import torch takes longer than to run most of them; it
is ended and replaced when it exceeds the limit. It gets the program as text, compiles it, compares its results with
those of the program before any schedule, and times it: the least of REPEATS times, each over as many calls as take
BATCH_S, since whatever else the machine does only adds. TVM sends candidates to a fleet of machines over the network.

Measurements are kept in a database, a file of JSON lines that only grows. A record is appended by one write, under a
lock: several processes may share a database, and a process that dies leaves at most one incomplete line, which readers
skip and the next writer ends. A workload is named by its function and sizes, a machine by its processor, as times mean
nothing elsewhere. TVM's databases hold the same, with a structural hash that forgives renaming.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer

import torch

from sysai.compiler import cpu
from sysai.compiler.codegen.kernel import build
from sysai.compiler.codegen.toolchain import lock
from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import parse, print_function

REPEATS = 20
BATCH_S = 0.003
TOLERANCE = 1e-3
START_S = 60  # to import torch and to run the function without a schedule


@dataclass(frozen=True)
class Measurement:
    """Seconds of a call, or the reason why there are none."""

    seconds: float | None
    error: str = ""


class Measurer:
    """Measures schedules of one function.

    Args:
        function: before any schedule; what the results are compared with.
        sizes: numbers for its sizes.
        limit_s: for compiling and running one candidate.
    """

    def __init__(self, function: PrimFunc, sizes: Mapping[str, int] | None = None, limit_s: float = 20) -> None:
        self.function, self.sizes, self.limit_s = function, dict(sizes or {}), limit_s
        self._process: subprocess.Popen | None = None

    def __call__(self, candidate: PrimFunc) -> Measurement:
        """Measure a schedule of the function."""
        if self._process is None and (failure := self._start()):
            return Measurement(None, f"the function without a schedule: {failure}")
        return self._ask({"program": print_function(candidate)}, self.limit_s)

    def __enter__(self) -> "Measurer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            _end(self._process)
            self._process.communicate()
            self._process = None

    def _start(self) -> str:
        """Start the process with the function to compare with; return what went wrong, or ''."""
        command = [sys.executable, "-m", "sysai.compiler.tuning.measure"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
        question = {"program": print_function(self.function), "sizes": self.sizes}
        failure = self._ask(question, START_S + self.limit_s).error
        if failure:
            self.close()
        return failure

    def _ask(self, question: Mapping[str, object], limit_s: float) -> Measurement:
        """The answer to a question; the process is ended where there is none in time."""
        process = self._process
        late = Timer(limit_s, _end, [process])
        late.start()
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            in_time = late.is_alive()
            late.cancel()
        if line.endswith("\n"):
            return Measurement(**json.loads(line))
        self.close()
        how = f"ended with code {process.returncode}" if in_time else f"took more than {limit_s:g} s, and was ended"
        return Measurement(None, f"the process {how}")


def _end(process: subprocess.Popen) -> None:
    """Kill a process, and a compiler that it may be waiting for."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def serve(questions: Iterable[str]) -> None:
    """The process: answer each line with a line. A question with sizes brings the program to compare with."""
    runner = None
    for line in questions:
        question = json.loads(line)
        try:
            program = parse(question["program"])
            if "sizes" in question:
                runner, seconds = _Runner(program, question["sizes"]), None
            else:
                seconds = runner.seconds(program)
            answer = {"seconds": seconds, "error": ""}
        except Exception as error:
            answer = {"seconds": None, "error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), flush=True)


class _Runner:
    """Operands, and the results that every schedule must have."""

    def __init__(self, function: PrimFunc, sizes: Mapping[str, int]) -> None:
        torch.manual_seed(0)
        self.sizes = dict(sizes)
        self.operands = []
        for buffer in function.buffers:
            shape, dtype = [evaluate(size, sizes) for size in buffer.shape], getattr(torch, buffer.dtype)
            numbers = torch.randn(shape) if dtype.is_floating_point else torch.randint(0, 2, shape)
            self.operands.append(numbers.to(dtype))
        written = {buffer.name for buffer in function.outputs}
        self.written = [position for position, buffer in enumerate(function.buffers) if buffer.name in written]
        self.expected = self._run(build(function).bind(*self.operands, sizes=self.sizes))

    def _run(self, call: Callable[[], None]) -> list[torch.Tensor]:
        """Copies of the outputs, which nothing else has written before."""
        for position in self.written:
            self.operands[position].fill_(1)
        call()
        return [self.operands[position].clone() for position in self.written]

    def seconds(self, candidate: PrimFunc) -> float:
        call = build(candidate).bind(*self.operands, sizes=self.sizes)
        for got, expected in zip(self._run(call), self.expected, strict=True):
            torch.testing.assert_close(got, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        calls = max(1, int(BATCH_S / max(_clocked(call, 1), 1e-7)))
        return min(_clocked(call, calls) for _ in range(REPEATS))


def _clocked(call: Callable[[], None], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


@dataclass(frozen=True)
class Record:
    """One measured candidate, of `workload_of` a function on `this_machine`.

    Attributes:
        trace: as `Trace.to_json` writes it.
        seconds: of one call; None if it failed, and `error` says why.
    """

    workload: str
    machine: str
    decisions: Mapping[str, int | str | bool]
    trace: str
    seconds: float | None
    error: str = ""


class Database:
    """A file of records.

    Args:
        path: need not exist yet; its folder must.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, record: Record) -> None:
        """Add a record, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        line = json.dumps(asdict(record), sort_keys=True).encode() + b"\n"
        with open(self.path, "a+b", buffering=0) as file:
            lock(file)
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)

    def __iter__(self) -> Iterator[Record]:
        """All records that can be read, in the order in which they were added."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                yield Record(**json.loads(line))
            except (ValueError, TypeError):
                continue  # a line that a process could not finish

    def best(self, workload: str, machine: str | None = None) -> Record | None:
        """The fastest record of a workload on a machine, by default on this one."""
        machine = this_machine() if machine is None else machine
        measured = [r for r in self if (r.workload, r.machine) == (workload, machine) and r.seconds is not None]
        return min(measured, key=lambda record: record.seconds, default=None)


def workload_of(function: PrimFunc, sizes: Mapping[str, int] | None = None) -> str:
    """A name for a function, before any schedule, at given sizes."""
    text = print_function(function) + json.dumps(dict(sizes or {}), sort_keys=True)
    return f"{function.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def this_machine() -> str:
    """A name for this machine's processor."""
    return hashlib.sha256(cpu.description().encode()).hexdigest()[:16]


if __name__ == "__main__":
    serve(sys.stdin)
