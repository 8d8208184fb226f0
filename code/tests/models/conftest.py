"""The real model, loaded once a run."""

import pytest
from sysai.models.weights import load_smollm2


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread_a_product):
    """For every file of this folder."""


@pytest.fixture(scope="session")
def smollm2():
    """(model, tokenizer) on the CPU in fp32; downloads 93 MB the first time."""
    return load_smollm2("cpu")
