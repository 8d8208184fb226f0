"""The exercises' own files, remembered before answers run and put back where an answer changed them.

The changed versions are kept aside, because it may have been an author who saved a file meanwhile. `answer.py` is
the student's, who may go on editing it: it is put back only if it has vanished.
"""

import shutil
import tempfile
from pathlib import Path

_IGNORED = {"__pycache__", ".ipynb_checkpoints"}
_ANSWER = "answer.py"


class Guard:
    """What the files under `folders` hold; read once, before any answer runs."""

    def __init__(self, folders: list[Path]):
        self.folders = folders
        self.files = self._read()

    def content(self, path: Path) -> bytes | None:
        """What the file held, None if there was none."""
        return self.files[path][1] if path in self.files else None

    def restore(self) -> tuple[list[Path], Path | None]:
        """Put files back as they were; (those that had been changed, added or removed, folder of changed versions)."""
        now = self._read()
        changed = [path for path in sorted(now.keys() | self.files.keys()) if self._is_changed(path, now)]
        if not changed:
            return [], None
        aside = Path(tempfile.mkdtemp(prefix="sysai-changed-"))
        for path in changed:
            if path in now:
                copy = aside / path.parent.name / path.name
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(now[path][1])
                path.unlink()
            if path in self.files:
                _make_room(path)
                path.write_bytes(self.files[path][1])
        return changed, aside

    def _is_changed(self, path: Path, now: dict[Path, tuple[bool, bytes]]) -> bool:
        if path.name == _ANSWER:
            return path not in now
        return now.get(path) != self.files.get(path)

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
    for place in reversed(path.parents):
        if place.exists() and not place.is_dir():
            place.unlink()
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
