"""Compilers that are missing, fail, hang; caches that can't be written; two processes with one kernel at once."""

import ctypes
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from sysai.compiler.codegen import toolchain
from sysai.compiler.codegen.toolchain import compile_c, find_compiler
from sysai.compiler.errors import ToolchainError

SOURCE = '#include "answer.h"\nint answer(void) { return ANSWER; }\n'
HEADERS = {"answer.h": "#define ANSWER 42\n"}
pytestmark = pytest.mark.usefixtures("cache")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def answer(library: Path) -> int:
    return ctypes.CDLL(str(library)).answer()


def test_a_library_is_compiled_once_for_each_content(cache, monkeypatch):
    first = compile_c(SOURCE, HEADERS)
    assert answer(first) == 42
    assert first.parent == cache
    monkeypatch.setattr(toolchain, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compile_c(SOURCE, HEADERS) == first
    monkeypatch.undo()


def test_source_headers_flags_and_compiler_make_another_library(cache, monkeypatch, tmp_path):
    keys = {compile_c(SOURCE, HEADERS), compile_c(SOURCE + "\n", HEADERS), compile_c(SOURCE, HEADERS, ("-O1",))}
    keys.add(compile_c(SOURCE, {"answer.h": "#define ANSWER 43\n"}))
    real = find_compiler().command[0]
    monkeypatch.setenv("CC", script(tmp_path / "mycc", f'exec {real} "$@"'))
    keys.add(compile_c(SOURCE, HEADERS))
    monkeypatch.setattr(toolchain.cpu, "description", lambda: "another processor")
    keys.add(compile_c(SOURCE, HEADERS))
    assert len(keys) == 6
    assert sorted(path.name for path in cache.glob("*.so")) == sorted(path.name for path in keys)


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(ToolchainError, match=r"\$CC is 'no-such-compiler -O2', which is not found"):
        compile_c(SOURCE, HEADERS)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"there is no C compiler .*apt install gcc"):
        compile_c(SOURCE, HEADERS)


def test_a_compiler_that_does_not_start_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", script(tmp_path / "broken", "exit 3"))
    with pytest.raises(ToolchainError, match="broken --version failed"):
        compile_c(SOURCE, HEADERS)


def test_the_compilers_message_and_the_source_are_kept(cache):
    with pytest.raises(ToolchainError, match="ANSWER") as caught:
        compile_c(SOURCE, {"answer.h": ""})
    (kept,) = cache.glob("*.c")
    assert str(kept) in str(caught.value)
    assert kept.read_text() == SOURCE
    assert not list(cache.glob("*.so"))
    assert not list(cache.glob("compile-*"))


def test_a_compiler_that_takes_too_long_is_stopped(monkeypatch, tmp_path, cache):
    slow = script(tmp_path / "slow", '[ "$1" = --version ] && echo slow 1.0 || exec sleep 60')
    monkeypatch.setenv("CC", slow)
    with pytest.raises(ToolchainError, match=r"took more than 0\.2 s"):
        compile_c(SOURCE, HEADERS, timeout=0.2)
    assert not list(cache.glob("compile-*"))


def test_cc_may_have_arguments(monkeypatch):
    real = find_compiler().command[0]
    monkeypatch.setenv("CC", f"{real} -DANSWER=7")
    assert answer(compile_c("int answer(void) { return ANSWER; }")) == 7


def test_a_cache_that_cannot_be_made_gives_way_to_a_temporary_folder(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")  # as root may write everywhere, this stands for a read-only folder
    monkeypatch.setenv("SYSAI_CACHE", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="can't be written"):
        library = compile_c(SOURCE, HEADERS)
    assert library.parent == tmp_path / f"sysai-kernels-{os.getuid()}"
    assert answer(library) == 42
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        assert compile_c(SOURCE, HEADERS) == library


def test_a_temporary_folder_that_others_can_write_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("SYSAI_CACHE", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"sysai-kernels-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ToolchainError, match="can be written by others"):
        compile_c(SOURCE, HEADERS)


def test_a_read_only_cache_serves_what_it_holds(cache, monkeypatch):
    library = compile_c(SOURCE, HEADERS)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: (_ for _ in ()).throw(OSError("read-only")))
    assert compile_c(SOURCE, HEADERS) == library


def test_nowhere_to_write_is_said(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("SYSAI_CACHE", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(file))
    with pytest.raises(ToolchainError, match="set SYSAI_CACHE to a folder"):
        compile_c(SOURCE, HEADERS)


def test_processes_that_want_one_kernel_at_once_compile_it_once(tmp_path, cache, monkeypatch):
    log = tmp_path / "log"
    real = find_compiler().command[0]
    counting = script(
        tmp_path / "counting", f'[ "$1" = --version ] || {{ echo x >> {log}; sleep 0.5; }}\nexec {real} "$@"'
    )
    code = (
        "import ctypes; from sysai.compiler.codegen.toolchain import compile_c; "
        f"print(ctypes.CDLL(str(compile_c({SOURCE!r}, {HEADERS!r}))).answer())"
    )
    environment = {**os.environ, "CC": counting}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["42", "42"]
    assert log.read_text().count("x") == 1
