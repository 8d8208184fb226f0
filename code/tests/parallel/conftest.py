"""Ranks are forked from a server that has imported what torch's optimizers import, and end with the tests."""

import pytest
from sysai.distributed import launch


@pytest.fixture(autouse=True, scope="session")
def ranks():
    launch.start(["torch._dynamo"])
    yield
    launch.stop()
