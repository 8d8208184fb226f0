"""Ranks are forked from a server that has imported what is slow to import, and end with the tests."""

import pytest
from sysai.distributed import launch

SLOW = ("pytest", "torch._dynamo", "torch.testing", "torch.distributed.fsdp", "torch.distributed.optim")


@pytest.fixture(autouse=True, scope="session")
def ranks():
    launch.stop()  # a server of other tests, which has imported less
    launch.start(SLOW)
    yield
    launch.stop()
