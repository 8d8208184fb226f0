"""After every test: no process and no file of a job is left, beside the idle ranks that wait for the next one."""

import tempfile
from pathlib import Path

import psutil
import pytest
from sysai.distributed import launch

PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))


def leftovers() -> set[Path]:
    return {path for place in PLACES if place.exists() for path in place.glob("sysai-*")}


@pytest.fixture(autouse=True, scope="session")
def nothing_left_at_the_end():
    before, children = leftovers(), set(psutil.Process().children(recursive=True))
    yield
    launch.stop()
    assert leftovers() <= before
    assert set(psutil.Process().children(recursive=True)) <= children
