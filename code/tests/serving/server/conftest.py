"""One server for all tests that leave it as they found it."""

import pytest
from service import Service, tiny_engine


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread_a_product):
    """For every file of this folder."""


@pytest.fixture(scope="session")
def shared():
    with Service(tiny_engine()) as service:
        yield service


@pytest.fixture
def service(shared):
    yield shared
    shared.wait_until_idle()
