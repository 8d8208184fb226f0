"""What explorables load in the reader's browser, once for both languages: Python, Vega, and the package's own files.

They lie in `explorables/` beside the languages' folders. What does not change with the book carries its version in
its address, and the rest a digest, so that a browser's cache never mixes old files with new.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from sphinx.errors import ExtensionError

from .node import module

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "book/explorables/worker.mjs"
PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")

# Drawing every explorable loads whatever it needs: the package's modules among that are the answer.
LIST_NEEDED = """
import sys
from sysai.explorables.explorable import find

for name in sys.argv[1:]:
    find(name).figure("en")
print(*(name for name in sys.modules if name.split(".")[0] == "sysai"))
"""


def names() -> list[str]:
    """The names of all explorables of the package."""
    modules = sorted((ROOT / "code/sysai/explorables").glob("*.py"))
    return [path.stem for path in modules if f"\n{path.stem} = Explorable(" in path.read_text(encoding="utf-8")]


@cache
def package() -> bytes:
    """A zip of the package's files that explorables need; the same bytes for the same files."""
    code = ROOT / "code"
    done = subprocess.run(
        [sys.executable, "-c", LIST_NEEDED, *names()], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(code)},
    )  # fmt: skip
    if done.returncode:
        raise ExtensionError(f"an explorable can't be drawn:\n{done.stderr}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(done.stdout.split()):
            path = code / name.replace(".", "/")
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            file.writestr(zipfile.ZipInfo(path.relative_to(code).as_posix()), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def version(name: str) -> str:
    """The version of an npm package."""
    return json.loads((module(name) / "package.json").read_text(encoding="utf-8"))["version"]


@cache
def worker_address() -> str:
    """The worker's address relative to `explorables/`, with the versions of all that it loads."""
    versions = {name: version(name) for name in ("pyodide", "vega", "vega-lite")}
    digests = {"sysai": package(), "worker": WORKER.read_bytes()}
    return f"{WORKER.name}?" + urlencode(
        versions | {name: hashlib.sha256(content).hexdigest()[:12] for name, content in digests.items()}
    )


def files() -> dict[str, Path | bytes]:
    """Every file below `explorables/`, with where it comes from or what it holds."""
    return {
        WORKER.name: WORKER,
        "sysai.zip": package(),
        "vega.min.js": module("vega/build/vega.min.js"),
        "vega-lite.min.js": module("vega-lite/build/vega-lite.min.js"),
        **{f"pyodide-{version('pyodide')}/{name}": module(f"pyodide/{name}") for name in PYODIDE},
    }
