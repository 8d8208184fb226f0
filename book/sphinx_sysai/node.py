"""Node and the packages that package.json locks: what pages are made with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

MODULES = Path(__file__).parents[2] / "node_modules"


def node() -> str:
    """The Node program of this Python environment, else of the system."""
    beside = Path(sys.executable).with_name("node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise ExtensionError("Node is not installed: run `make env`, which installs what the site is made with.")
    return found


def module(path: str) -> Path:
    """A file or folder of an installed package."""
    if not (MODULES / path).exists():
        raise ExtensionError(f"{path} is not installed: run `make env`, which installs what the site is made with.")
    return MODULES / path
