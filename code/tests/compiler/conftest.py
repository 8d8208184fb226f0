"""The compiler's own tests verify each tensor program that the pipeline makes, but for whole models: it takes long."""

import pytest

WHOLE_MODELS = {"test_backend", "test_backend_smollm2"}


@pytest.fixture(autouse=True)
def _verified(request, monkeypatch):
    if request.path.stem not in WHOLE_MODELS:
        monkeypatch.setenv("SYSAI_VERIFY", "1")
