"""The compiler's own tests verify each tensor program that the pipeline makes, with two exceptions.

Whole models take long, and sizes that only Dynamo's guards bound, as in random functions, have no bound there.
"""

import pytest

NOT_VERIFIED = {"test_backend", "test_backend_smollm2", "test_random_functions"}


@pytest.fixture(autouse=True)
def _verified(request, monkeypatch):
    if request.path.stem not in NOT_VERIFIED:
        monkeypatch.setenv("SYSAI_VERIFY", "1")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A fresh cache of the test's own: the folder where kernels are kept."""
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory):
    """A fresh cache, one for all tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYSAI_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield
