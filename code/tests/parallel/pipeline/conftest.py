"""After the tests: the ranks that ran them are ended."""

import pytest
from sysai.distributed import launch


@pytest.fixture(autouse=True, scope="package")
def ranks_end():
    yield
    launch.stop()
