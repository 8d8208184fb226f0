"""The real vocabulary, read once a run."""

import pytest
from sysai.models.smollm2 import fetch_smollm2
from sysai.models.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    """SmolLM2's tokenizer; downloads the model's file, 93 MB, the first time."""
    return Tokenizer.from_gguf(fetch_smollm2())
