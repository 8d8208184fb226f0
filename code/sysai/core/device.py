"""Which device a program runs on, and what that device is.

A program of the book takes ``device="auto"`` and runs on a GPU where there is one and on the CPU elsewhere.
A measured number means nothing without the machine it was measured on, so every benchmark prints
``describe_device`` beside its result. Production launchers also pin processes to cores and memory nodes.
"""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class DeviceInfo:
    """One device, as a benchmark reports it; ``str()`` is one line.

    ``cores`` are the CPU cores this process may use (on a GPU: streaming multiprocessors), ``threads`` those
    that torch uses, ``memory_bytes`` the device's whole memory, or None where the system does not tell.
    """

    name: str
    kind: str
    cores: int
    threads: int
    memory_bytes: int | None
    torch_version: str

    def __str__(self) -> str:
        unit = "SMs" if self.kind == "cuda" else "cores"
        memory = f", {self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else ""
        return (
            f"{self.name} ({self.kind}), {self.cores} {unit}, {self.threads} CPU threads{memory}, "
            f"torch {self.torch_version}"
        )


def select_device(name: str | torch.device = "auto") -> torch.device:
    """Turn a device's name into a torch device that can be used here.

    Args:
        name: "auto" (a CUDA device if there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps" ...

    Raises:
        ValueError: unknown name, or a device that this machine or this build of torch lacks.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: use 'auto', 'cpu', 'cuda' or 'cuda:0'") from None
    if not _is_available(device):
        raise ValueError(f"device {str(name)!r} is not available here: use 'auto' or 'cpu'")
    return device


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type in ("cpu", "meta") and not device.index


def describe_device(device: str | torch.device = "auto") -> DeviceInfo:
    """Say what `device` is: name, cores, memory and the version of torch that drives it."""
    device = select_device(device)
    threads = torch.get_num_threads()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        name, cores, memory = gpu.name, gpu.multi_processor_count, gpu.total_memory
    else:
        name, cores, memory = _cpu_name(), _usable_cores(), _memory_bytes()
    return DeviceInfo(name, device.type, cores, threads, memory, torch.__version__)


def synchronize(device: torch.device | None) -> None:
    """Wait until `device` has done all work queued on it (a CPU has none queued)."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _cpu_name() -> str:
    """The processor's marketing name; each system keeps it elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()
