"""Limits on what an answer may use while it is checked, and how the system is told.

The kernel enforces what it can from within the process (`impose`); what it cannot, the grader watches from outside:
wall time, the memory of the whole process tree, the number of processes, and the volume of printed output.
"""

import contextlib
import os
from dataclasses import dataclass

try:
    import resource
except ImportError:  # Windows: the grader's watch alone
    resource = None


@dataclass(frozen=True)
class Limits:
    """Limits of one answer; memory is that beyond what Python and torch take, in bytes like `printed`."""

    seconds: float = 10.0  # wall time of a call, without that of callbacks
    load_seconds: float = 30.0  # of the answer's top level: on a busy machine, importing torch alone takes 10
    memory: int = 2 * 2**30
    processes: int = 16
    printed: int = 10 * 2**20
    file_size: int = 64 * 2**20


def impose(limits: Limits) -> None:
    """Set this process's limits, where the system has such, for itself and all processes that it starts."""
    if resource is None:
        return
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_FSIZE", limits.file_size)
    data = _data_bytes()
    if data is not None:
        # Not RLIMIT_AS: torch's CUDA libraries and thread pools reserve far more addresses than they use.
        _limit("RLIMIT_DATA", data + limits.memory)


def _limit(name: str, value: int) -> None:
    kind = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # a system may lack a limit that its headers name
        resource.setrlimit(kind, (value, value))


def _data_bytes() -> int | None:
    """Bytes of writable private memory that this process has mapped (Linux)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
