"""Files with Triton kernels, imported for the compiler or for the interpreter.

Triton decides who runs a function when the function is decorated, by the environment variable TRITON_INTERPRET. A file
that is imported by its path can be imported once for each: kernels are compiled on a GPU and interpreted by numpy on a
CPU, in one process. Triton exists for Linux; it is looked for when a kernel is asked for, not before.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what compiles ahead of time needs no torch, whose import takes longer than a kernel
    import torch


def require_triton(instead: str) -> None:
    """Raise a RuntimeError that says what to do unless Triton can be imported; `instead` is what works without it."""
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError(
            f"Triton is not installed: on Linux `pip install triton` brings it; elsewhere it does not exist, so "
            f"{instead}"
        )


def import_module(path: Path, interpret: bool) -> ModuleType:
    """Import a file; its kernels belong to the interpreter or to the compiler for good."""
    import triton.language as tl

    with suppress(ModuleNotFoundError), _interpreting(type(tl.sum).__name__ == "InterpretedFunction"):
        import triton.experimental.gluon  # noqa: F401  Triton does so later, and wants the setting it began with
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{'interpreted' if interpret else 'compiled'}", path)
    module = importlib.util.module_from_spec(spec)
    with _interpreting(interpret):
        spec.loader.exec_module(module)
    return module


def kernel_path(name: str) -> Path:
    """The file of this package's kernels of that name."""
    return Path(__file__).parent / "triton" / f"{name}.py"


@cache
def load_kernels(name: str, interpret: bool) -> ModuleType:
    """This package's kernels of that name, imported once for the compiler and once for the interpreter.

    Raises:
        RuntimeError: Triton is not installed.
    """
    require_triton("call the reference in torch")
    return import_module(kernel_path(name), interpret)


def must_interpret(device: "torch.device") -> bool:
    """Whether kernels on tensors there are interpreted: no GPU, or TRITON_INTERPRET=1 asks for it."""
    return device.type != "cuda" or os.environ.get("TRITON_INTERPRET") == "1"


@contextmanager
def _interpreting(interpret: bool) -> Iterator[None]:
    """With Triton's variable set as wanted."""
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1" if interpret else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]
        else:
            os.environ["TRITON_INTERPRET"] = before
