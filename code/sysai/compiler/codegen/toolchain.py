"""From C to a shared library: finding a compiler, calling it, and keeping its output.

A library is kept under the hash of all that it depends on: source, headers, flags, the compiler's version, the
processor. It is made under another name and renamed when it is whole, so that a library that is there can be loaded; a
lock lets processes that want the same kernel at once compile it once. Cost: 0.2 to 2 s for a kernel, 1 ms for a kept
one.

ccache keys in the same way. Production compilers that print C++ (Inductor) do the same and compile ahead in a pool
of processes; those that hold LLVM as a library spare the start of a process and the parsing of headers.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from sysai.compiler import cpu
from sysai.compiler.errors import ToolchainError
from sysai.models.smollm2 import cache_folder

TIMEOUT = 120.0  # seconds for one compilation
FLAGS = (
    "-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC", "-fopenmp", "-fwrapv", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=off", "-Wno-psabi", "-Wno-unknown-pragmas",
)  # fmt: skip
"""No -ffast-math: NaN, infinities, -0 and the order of sums stay as written. No contraction: a product that is computed
at two places has one value, and where an FMA is wanted, it is written."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: the command that starts it, and its version."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """$CC if it is set, else gcc, clang or cc, whichever is found first.

    Raises:
        ToolchainError: there is none, or it does not start.
    """
    return _find(os.environ.get("CC", "").strip(), os.environ.get("PATH", ""))


@lru_cache
def _find(wanted: str, path: str) -> Compiler:
    candidates = [wanted] if wanted else ["gcc", "clang", "cc"]
    for candidate in candidates:
        command = tuple(shlex.split(candidate))
        if shutil.which(command[0], path=path):
            return Compiler(command, _version(command))
    missing = f"$CC is {wanted!r}, which is not found" if wanted else "there is no C compiler (gcc, clang, cc)"
    raise ToolchainError(f"{missing}; install one (Debian: apt install gcc) or set CC to the path of one")


def _version(command: tuple[str, ...]) -> str:
    try:
        return subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(f"{shlex.join(command)} --version failed ({error}): set CC to a C compiler") from None


def compile_c(
    source: str, headers: Mapping[str, str] | None = None, flags: tuple[str, ...] = (), timeout: float = TIMEOUT
) -> Path:
    """The path of a shared library made of C source, compiled now or before.

    Args:
        source: one translation unit.
        headers: text by file name, for what the source includes with quotes.
        flags: beyond FLAGS.
        timeout: seconds that the compiler may take.

    Raises:
        ToolchainError: no compiler, or it refuses the source (with its message), or takes too long.
    """
    compiler, headers = find_compiler(), dict(headers or {})
    flags = (*FLAGS, *flags)
    parts = (source, repr(sorted(headers.items())), repr(flags), repr(compiler), cpu.description())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    library = writable_folder("kernels", f"{key}.so") / f"{key}.so"
    if library.exists():
        return library
    with library.with_suffix(".lock").open("w") as file:
        lock(file)
        if not library.exists():
            _compile(compiler, flags, source, headers, library, timeout)
    return library


def writable_folder(kind: str, file_name: str) -> Path:
    """The cache's folder of a kind ("kernels", "triton") if it has the file or can take it; else one of this user among
    the temporary files.

    Raises:
        ToolchainError: neither can be written, or others can write the latter.
    """
    folder = cache_folder() / kind
    if (folder / file_name).exists():
        return folder
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    temporary = Path(tempfile.gettempdir()) / f"sysai-{kind}-{user}"
    for candidate in (folder, temporary):
        try:
            candidate.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=candidate):
                pass
        except OSError as error:
            reason = error
            continue
        if candidate is temporary:
            _require_own(temporary)
            _note(f"{folder} can't be written; kernels go to {temporary}: set SYSAI_CACHE to a folder that can")
        return candidate
    raise ToolchainError(f"neither {folder} nor {temporary} can be written ({reason}): set SYSAI_CACHE to a folder")


def _require_own(folder: Path) -> None:
    """Refuse a folder that others can write, as libraries are loaded from it."""
    if hasattr(os, "getuid") and (folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022):
        raise ToolchainError(f"{folder} can be written by others: remove it, or set SYSAI_CACHE to a folder of yours")


@lru_cache
def _note(message: str) -> None:
    """Warn once in a process."""
    warnings.warn(message, stacklevel=5)


def lock(file: IO) -> None:
    """Wait until no other process holds the lock of an open file; it is held until the file is closed.

    Windows has no such lock: there both processes go on, and what they write whole (a rename, one append) decides.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _compile(
    compiler: Compiler, flags: tuple[str, ...], source: str, headers: Mapping[str, str], library: Path, timeout: float
) -> None:
    name = shlex.join(compiler.command)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="compile-") as folder:
        for file_name, text in {**headers, "kernel.c": source}.items():
            Path(folder, file_name).write_text(text)
        command = [*compiler.command, *flags, "kernel.c", "-o", "kernel.so", "-lm"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise ToolchainError(
                f"{name} took more than {timeout:g} s for a kernel: unroll less, or allow more time"
            ) from None
        except OSError as error:
            raise ToolchainError(f"{name} can't be started ({error}): set CC to a C compiler") from None
        if done.returncode:
            kept_source = library.with_suffix(".c")
            kept_source.write_text(source)
            message = "\n".join((done.stderr or done.stdout).strip().splitlines()[:20])
            raise ToolchainError(f"{name} refused a kernel, which is kept as {kept_source}:\n{message}")
        os.replace(Path(folder, "kernel.so"), library)
