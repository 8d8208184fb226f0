"""Ranks are forked from a server that has imported what is slow to import; at the end nothing of a job is left."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest
from sysai.distributed import launch


@pytest.fixture(autouse=True, scope="session")
def nothing_left_at_the_end():
    children = set(psutil.Process().children(recursive=True))
    launch.start(["pytest", "torch.testing"])
    yield
    launch.stop()
    left = set(psutil.Process().children(recursive=True)) - children
    _, running = psutil.wait_procs(left, timeout=2)  # other tests may have left ended children to be waited for
    assert not running
    for place in ("/dev/shm", tempfile.gettempdir()):
        assert not list(Path(place).glob(f"sysai-{os.getpid()}-*"))
