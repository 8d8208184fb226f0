"""The real model, loaded once a run."""

import pytest
import torch
from sysai.models.weights import load_smollm2


@pytest.fixture(autouse=True, scope="package")
def _one_thread_a_product():
    """The tests are shared between processes: threads of each would only wait for those of the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def smollm2():
    """(model, tokenizer) on the CPU in fp32; downloads 93 MB the first time."""
    return load_smollm2("cpu")
