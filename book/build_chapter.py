"""Build both sites of a copy of the book in which one chapter is whole: `python book/build_chapter.py 11`.

Of the other chapters the copy holds what links lead to (headings, labels, numbers of equations and figures) and no
code, so that nothing but the chapter is executed. It lies in _build/chapter-11, with its own cache, site and notebooks.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sphinx_sysai.cell_parts import take_apart
from sphinx_sysai.cells import Cell, read_cells
from sphinx_sysai.course import ROOT, Chapter, chapters
from sphinx_sysai.exercise_pages import EXERCISE, find_exercise, label_of

FIGURE = """\
:::{{figure}} /book/assets/favicon.svg
:name: {name}

…
:::
"""


def outline(chapter: Chapter) -> str:
    """A chapter's page without code and prose: all that a link from elsewhere can name."""
    cells = []
    for cell in read_cells(chapter.text):
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if cell.kind == "code" and figure:
            cells.append("+++\n\n" + FIGURE.format(name=figure["name"]))
        elif cell.kind == "markdown" and (found := targets(chapter, cell)):
            mark = f'+++ {{"lang": "{cell.lang}"}}' if cell.lang else "+++"
            cells.append(f"{mark}\n\n{found}")
    return "\n\n".join(cells) + "\n"


def targets(chapter: Chapter, cell: Cell) -> str:
    """The headings, labels, labelled equations, named boxes and exercises of a cell of prose, in their order."""
    parts, lines = take_apart(cell), chapter.text.splitlines()
    found = [(line, f"({label})=") for label, line in parts.labels]
    found += [(line, lines[line - 1]) for _, line in parts.headings]
    found += [(line, f"\n$$ {equation}\n") for equation, line in parts.equations if equation.endswith(")")]
    found += [(line, "\n" + FIGURE.format(name=name)) for name, line in parts.names]
    for match in EXERCISE.finditer(cell.source):
        exercise = find_exercise(chapter.folder, match[2])
        line = cell.start + 1 + cell.source.count("\n", 0, match.start())
        found.append((line, f"\n({label_of(exercise)})=\n## {exercise.title['en']}"))
    text = "\n".join(text for _, text in sorted(found))
    return re.sub(r"=\n(?![(#])|=$", "=\n…\n", text)  # a label needs something to stand before


def copy_book(target: Path, whole: list[str], root: Path = ROOT) -> None:
    """Copy a book; chapters whose number is not in `whole` become their outlines."""
    target.mkdir(parents=True, exist_ok=True)
    for folder in ("book", "chapters"):
        shutil.rmtree(target / folder, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__"))
    for path in root.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, target)
    for name in ("code", "node_modules"):
        if not (target / name).exists():
            (target / name).symlink_to(root / name, target_is_directory=True)
    for chapter in chapters(root):
        folder = target / chapter.folder.relative_to(root)
        if chapter.number in whole:
            shutil.copytree(chapter.folder, folder, ignore=shutil.ignore_patterns("__pycache__", "answer.py"))
        else:
            folder.mkdir(parents=True)
            page = folder / "chapter.md"
            page.write_text(outline(chapter), encoding="utf-8")
            shutil.copystat(chapter.folder / "chapter.md", page)


def main() -> None:
    """Copy the book and build the copy by its own program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", choices=[chapter.number for chapter in chapters()], help="its number, as in 01")
    chapter = parser.parse_args().chapter
    folder = ROOT / "_build" / f"chapter-{chapter}"
    copy_book(folder, [chapter])
    times = folder / "_build/times"
    shutil.rmtree(times, ignore_errors=True)
    done = subprocess.run([sys.executable, "book/build.py"], cwd=folder, check=False)
    if times.exists():
        shutil.copytree(times, ROOT / "_build/times", dirs_exist_ok=True)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
