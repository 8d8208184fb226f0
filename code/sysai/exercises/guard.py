"""The book's own files, remembered before answers run and put back where one of them changed them."""

import shutil
from pathlib import Path

_IGNORED = {"__pycache__", ".ipynb_checkpoints"}


class Guard:
    """What the files under `folders` hold; read once, before any answer runs."""

    def __init__(self, folders: list[Path]):
        self.folders = folders
        self.files = self._read()

    def restore(self) -> list[Path]:
        """Put every file back as it was; return those that had been changed, added or removed."""
        now = self._read()
        changed = sorted(path for path in now.keys() | self.files.keys() if now.get(path) != self.files.get(path))
        for path in changed:
            if path in self.files:
                _make_room(path)
                path.write_bytes(self.content(path))
            else:
                path.unlink(missing_ok=True)
        return changed

    def content(self, path: Path) -> bytes | None:
        """What the file held, None if there was none."""
        return self.files[path][1] if path in self.files else None

    def _read(self) -> dict[Path, tuple[bool, bytes]]:
        """Content by path, and whether a link leads to it."""
        found = {}
        for folder in self.folders:
            for path in folder.rglob("*"):
                if not _IGNORED & set(path.parts) and (path.is_symlink() or path.is_file()):
                    found[path] = (path.is_symlink(), path.read_bytes() if path.is_file() else b"")
        return found


def _make_room(path: Path) -> None:
    """Remove whatever lies at `path` or stands in the way to it."""
    for place in (*reversed(path.parents), path):
        if place.is_symlink() or (place.exists() and not place.is_dir() and place != path):
            place.unlink()
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
