"""All that the sites are made from, as one digest: where it is the same, they are."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

from .sites import ROOT, last_change, repository_url

SOURCES = ("_config.yml", "_toc.yml", "requirements.txt", "package-lock.json", "book", "chapters", "code/sysai")
NO_SOURCES = (".*", "__pycache__", "*.egg-info", "answer.py")


def inputs_digest(root: Path = ROOT) -> str:
    """A digest of the sources, of what is installed, and of what the repository says of itself."""
    installed = sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    digest = hashlib.sha256(repr((sys.version, installed, repository_url(), last_change())).encode())
    for path in (*source_files(root), root / "node_modules/.package-lock.json"):
        content = path.read_bytes() if path.exists() else b""
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def source_files(root: Path = ROOT) -> list[Path]:
    """Every file that the sites are made from."""
    found = []
    for path in (root / name for name in SOURCES):
        found += _files(path) if path.is_dir() else [path]
    return sorted(found)


def _files(folder: Path) -> list[Path]:
    kept = [path for path in folder.iterdir() if not any(fnmatch(path.name, pattern) for pattern in NO_SOURCES)]
    return [file for path in kept for file in (_files(path) if path.is_dir() else [path])]


def listing_digest(*folders: Path) -> str:
    """A digest of the names, sizes and times of the files in folders: what a build left there is still there."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
