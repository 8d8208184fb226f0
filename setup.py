"""The wheel carries the exercises as well, for readers without a checkout; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithExercises(build_py):
    """Copies chapters/*/exercises into the package, where `sysai.exercises.catalogue` finds them."""

    def run(self) -> None:
        """Build; an editable install uses the folder itself."""
        super().run()
        if not self.editable_mode:
            for folder in ROOT.glob("chapters/*/exercises"):
                target = Path(self.build_lib, "sysai", "exercises", folder.relative_to(ROOT))
                ignored = shutil.ignore_patterns("answer.py", "__pycache__", ".*")
                shutil.copytree(folder, target, ignore=ignored, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithExercises})
