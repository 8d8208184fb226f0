"""How tests are shared between processes (`-n 2 --dist loadgroup`); their seconds are counted by `seconds`.

Tests of a group run in one process, one after the other. By default a file is a group; a page of the sites is one;
those that start ranks are one, as each takes more than one core, and the first: it takes longest. A file may name its
own by the mark `xdist_group`.
"""

import ctypes
import os
from pathlib import Path

import examples  # noqa: F401  the profiles of random tests, before any of these is read
import pytest

pytest_plugins = ["seconds"]

# Read when torch is imported: threads of OpenMP that wait must not keep a core from the tests beside, as they would.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

M_PERTURB = -6  # of glibc's mallopt
RANKS = {"distributed", "parallel"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        path = item.path.relative_to(Path(__file__).parent)
        group = "ranks" if path.parts[0] in RANKS else path.as_posix()
        if path.parts[0] == "browser" and hasattr(item, "callspec"):
            group = item.callspec.params.get("path", group)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args != ("ranks",))


def pytest_collection_finish(session) -> None:
    """Without groups all would still pass, but fixtures would be made twice and ranks of two tests run at once."""
    if hasattr(session.config, "workerinput") and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist has lost the groups of tests: see the bound of pytest in pyproject.toml")


@pytest.fixture
def nan_in_fresh_memory():
    """What nobody has written is NaN, in torch's tensors and in C's buffers, but for some below a kilobyte."""
    import torch  # seconds, which most tests need not wait for

    libc = ctypes.CDLL(None)
    libc.mallopt(M_PERTURB, 0x100)  # the bytes of fresh memory become 0xff
    assert torch.empty(1 << 12).isnan().all()
    yield
    libc.mallopt(M_PERTURB, 0)


@pytest.fixture(scope="module")
def one_thread_a_product():
    """Tests run beside others: threads of a tiny product would spend their time waiting for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
