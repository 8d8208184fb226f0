"""The machine that code is generated for: how wide its vectors are, and where buffers begin in its memory."""

import platform
from functools import lru_cache

NAMES = {"AVX512": 64, "AVX2": 32}
ALIGNMENT = 64  # bytes of a cache line, and of the widest vector: where buffers begin


@lru_cache
def vector_bytes() -> int:
    """Bytes of a vector register of this machine: 64 with AVX-512, 32 with AVX2, else 16."""
    import torch  # costs seconds, and the code that is printed for a machine named by the caller needs none

    return NAMES.get(torch.backends.cpu.get_cpu_capability(), 16)


def lanes() -> int:
    """Numbers of 32 bits in a vector of this machine."""
    return vector_bytes() // 4


@lru_cache
def description() -> str:
    """Names the processor and its features: a kernel that was compiled for another one may not run on this."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = file.read().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return platform.machine() + "\n" + "\n".join(line for line in lines if line.startswith(wanted))
