"""The exercises' own files, remembered before answers run and put back where an answer changed them.

The changed versions are kept aside, because it may have been an author who saved a file meanwhile. Other files are
nobody's business here, such as what an editor saves beside them. `answer.py` is the student's, who may go on editing
it: it is put back only if it has vanished.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_ANSWER = "answer.py"
_OWN = ("statement.md", "starter.py", "check.py", "solution.py", "explanation.md", "faults.py")


class Guard:
    """A copy of the files of the exercises in `folders`, read once, before any answer runs."""

    def __init__(self, folders: list[Path]):
        paths = [folder / name for folder in folders for name in (*_OWN, _ANSWER)]
        self.files = {path: path.read_bytes() for path in paths if path.is_file()}

    def content(self, path: Path) -> bytes | None:
        """The content of the file when it was read, None if there was none."""
        return self.files.get(path)

    def restore(self) -> tuple[list[Path], Path | None]:
        """Put files back as they were; (those that had been changed or removed, folder of changed versions)."""
        changed = [path for path in sorted(self.files) if self._is_changed(path)]
        if not changed:
            return [], None
        aside = Path(tempfile.mkdtemp(prefix="sysai-changed-"))
        for path in changed:
            copy = aside / path.parent.name / path.name
            with contextlib.suppress(OSError):
                if path.is_file():
                    copy.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, copy)
            _make_room(path)
            path.write_bytes(self.files[path])
        return changed, aside

    def _is_changed(self, path: Path) -> bool:
        try:
            if not path.is_file():
                return True
            if path.name == _ANSWER:
                return False
            return path.stat().st_size != len(self.files[path]) or path.read_bytes() != self.files[path]
        except OSError:  # no longer readable
            return True


def remove_tree(folder: str | Path) -> None:
    """Remove a folder that somebody else filled, as far as possible."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # nested deeper than Python's stack
        subprocess.run(["rm", "-rf", str(folder)], stderr=subprocess.DEVNULL)


def _make_room(path: Path) -> None:
    """Remove whatever lies at `path` or stands in the way to it."""
    for parent in reversed(path.parents):
        if os.path.lexists(parent) and not parent.is_dir():
            parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK):
        path.parent.chmod(0o755)
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    elif os.path.lexists(path):
        path.unlink()
