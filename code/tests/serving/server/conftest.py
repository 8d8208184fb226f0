"""One server for all tests that leave it as they found it."""

import pytest
import torch
from service import Service, tiny_engine


@pytest.fixture(autouse=True, scope="package")
def _one_thread_a_product():
    """On a machine with other work, threads of tiny products spend their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared():
    with Service(tiny_engine()) as service:
        yield service


@pytest.fixture
def service(shared):
    yield shared
    shared.wait_until_idle()
