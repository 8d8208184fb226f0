"""The book's code is executed once, before its sites are built: each language takes the outputs from the cache.

MyST-NB finds them there, because it hashes the code cells of a page and no prose.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution

from .cells import read_notebook

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"SYSAI_EXPLORABLES": "static", "SYSAI_LANGUAGE": "en"}


def package_digest() -> str:
    """A digest of the package and the locked versions: where it changes, every cell is executed anew."""
    package = (path for path in (ROOT / "code/sysai").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = [ROOT / "requirements.txt", *sorted(package)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def execution_cache(folder: Path) -> Path:
    """The folder of executed cells; emptied where the package that they ran with has changed."""
    digest, mark = package_digest(), folder / "package_digest"
    if not mark.exists() or mark.read_text(encoding="utf-8") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(digest, encoding="utf-8")
    return folder


def execute(page: Path, folder: Path, timeout: int) -> float | None:
    """Execute a page's cells and keep their outputs in the cache; seconds, or None where the cache has them.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
        nbclient.exceptions.CellTimeoutError: a cell took longer than `timeout` seconds.
    """
    cache, notebook = get_cache(folder), read_notebook(page)
    with contextlib.suppress(KeyError):
        cache.match_cache_notebook(notebook)
        return None
    set_environment()
    result = single_nb_execution(notebook, cwd=str(page.parent), timeout=timeout, allow_errors=False)
    reset_environment()
    if result.err is not None:
        raise result.err from None
    bundle = CacheBundleIn(notebook, str(page), data={"execution_seconds": result.time})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return result.time


def set_environment(*_):
    """Tell kernels that pages have controls of their own, and the one language in which cells write."""
    os.environ.update(ENVIRONMENT)


def reset_environment(*_):
    """Leave the environment as it was."""
    for name in ENVIRONMENT:
        os.environ.pop(name, None)


def setup(app):
    """Register with Sphinx, which executes where a site is built alone (a plain `jupyter-book build`)."""
    app.add_config_value("package_digest", package_digest(), "env")  # cells are executed with it
    app.connect("builder-inited", set_environment)
    app.connect("build-finished", reset_environment)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
