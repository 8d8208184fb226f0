"""Records of measurements, in a file of JSON lines that only grows.

A record is one line, and is appended by one write to a file that is opened for appending, under a lock: several
processes may share a database, and a process that dies leaves at most one incomplete line, which readers skip
and the next writer ends. A workload is named by its function and sizes, a machine by its processor, as times mean
nothing elsewhere. TVM's databases hold the same, with a structural hash that forgives renaming.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sysai.compiler import cpu
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import print_function


@dataclass(frozen=True)
class Record:
    """One measured candidate.

    Attributes:
        workload: `workload_of` a function.
        machine: `machine()`.
        decisions: of the candidate.
        trace: as `Trace.to_json` writes it.
        seconds: of one call; None if it failed.
        error: what went wrong, or ''.
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
        with open(self.path, "a+b", buffering=0) as file, _lock(file.fileno()):
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


class _lock:  # noqa: N801
    """Hold an exclusive lock on a file, where the system has such."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: one write to a file opened for appending has to do
            return
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        """The lock ends with the file."""
