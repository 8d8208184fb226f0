"""An exercise on its chapter's page and in its notebook, from the exercise's own files.

`{exercise} speed-limit` shows chapters/NN-…/exercises/NN-speed-limit: the task, what the student begins with, how to
check it, and the folded solution. The page includes the files, so that messages name them and a change rebuilds it.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sysai.core.language import Text, in_language
from sysai.exercises.catalogue import Exercise, find_exercises, select

from .cells import keep_language, language_of, read_cells, without_front_matter
from .light_pages import colab_address

TEXTS = {
    "title": Text("Exercise {number} · {title}", "练习{number} · {title}"),
    "minutes": Text("About {minutes} minutes.", "约{minutes}分钟。"),
    "colab": Text("Work on it in Colab", "在Colab中完成"),
    "starter": Text("What you begin with", "起始代码"),
    "check": Text(
        "Your answer goes into `{folder}/answer.py` ([how to work on exercises](#exercises-work)):",
        "答案写在`{folder}/answer.py`中（参见[如何做练习](#exercises-work)）：",
    ),
    "cell": Text(
        "Run the first cell of the notebook. Then write your answer into the next cell and run it too.",
        "先运行笔记本的第一个单元，再把答案写进下一个单元并运行。",
    ),
    "solution": Text("Solution", "解答"),
}

PAGE = """\
{minutes}

```{{include}} /{folder}/statement.md
```

:::{{dropdown}} {starter}
```{{literalinclude}} /{folder}/starter.py
:language: python
```
:::

{check}

```bash
sysai start {id}
sysai check {id}
```

{colab}

:::{{dropdown}} {solution}
```{{include}} /{folder}/explanation.md
```

```{{literalinclude}} /{folder}/solution.py
:language: python
```
:::
"""


EXERCISE = re.compile(r"^(:{3,}|`{3,})\{exercise\}[ \t]+(\S+)[ \t]*\n\1[ \t]*$", re.MULTILINE)


def find_exercise(chapter: Path, slug: str) -> Exercise:
    """The exercise that a page of a chapter names; ValueError with those there are."""
    return select(
        [slug], [exercise for exercise in find_exercises(chapter.parent) if chapter in exercise.folder.parents]
    )[0]


def label_of(exercise: Exercise) -> str:
    """What `[text](#exercise-01-speed-limit)` names."""
    return f"exercise-{exercise.id.replace('/', '-')}"


def title_of(exercise: Exercise, lang: str) -> str:
    """`Exercise 1.1 · A speed limit`."""
    return TEXTS["title"][lang].format(number=exercise.number, title=exercise.title[lang])


class ExerciseDirective(SphinxDirective):
    """`{exercise} speed-limit`: an exercise of this page's chapter."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the box, with a label that links can name."""
        lang = language_of(self.config.language)
        words, root = in_language(TEXTS, lang), Path(self.env.srcdir)
        try:
            exercise = find_exercise((root / self.env.docname).parent, self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from error
        title, label = title_of(exercise, lang), label_of(exercise)
        address = colab_address(self.env.app, self.env.docname, label)
        folder = exercise.folder.relative_to(root).as_posix()
        page = PAGE.format(
            minutes=words["minutes"].format(minutes=exercise.minutes),
            starter=words["starter"], folder=folder, id=exercise.id,
            check=words["check"].format(folder=folder), solution=words["solution"],
            colab=f"[{words['colab']}]({address}){{.colab}}" if address else "",
        )  # fmt: skip
        box = nodes.admonition("", nodes.title(title, title), classes=["exercise"], ids=[label])
        self.set_source_info(box)
        self.env.get_domain("std").note_hyperlink_target(label, self.env.docname, label, title)
        self.state.nested_parse(StringList(page.splitlines()), 0, box)
        return [box]


def select_language(app, relative_path, parent, source):
    """Of a file that a page includes, keep the cells of the language being built."""
    source[0] = without_front_matter(keep_language(source[0], language_of(app.config.language)))


def notebook_cells(exercise: Exercise, lang: str, markdown) -> list[nbformat.NotebookNode]:
    """An exercise in a notebook: its task, a cell to work in, its folded solution.

    `markdown` turns the text of a cell into plain Markdown.
    """

    def file(name: str) -> str:
        return (exercise.folder / name).read_text(encoding="utf-8").rstrip()

    def text(name: str) -> str:
        return markdown("\n\n".join(cell.source for cell in read_cells(file(name)) if cell.lang in (None, lang)))

    words, label = in_language(TEXTS, lang), label_of(exercise)
    task = f"""\
<a id="{label}"></a>

### {title_of(exercise, lang)}

{words["minutes"].format(minutes=exercise.minutes)}

{text("statement.md")}

{words["cell"]}"""
    folded = f"""\
<details><summary><b>{words["solution"]}</b></summary>

{text("explanation.md")}

```python
{file("solution.py")}
```

</details>"""
    return [
        nbformat.v4.new_markdown_cell(task),
        nbformat.v4.new_code_cell(
            f"%%exercise {exercise.id}\n{file('starter.py')}",
            metadata={"id": label, "tags": ["nbval-skip"]},  # Colab scrolls to the id that its address names
        ),
        nbformat.v4.new_markdown_cell(folded),
    ]


def split(source: str) -> list[tuple[str, str | None]]:
    """Cut a cell's Markdown behind each exercise: pairs of the text before it, and the exercise's name."""
    parts = EXERCISE.split(source)
    return list(zip(parts[::3], [*parts[2::3], None], strict=True))


def setup(app):
    """Register with Sphinx."""
    app.add_directive("exercise", ExerciseDirective)
    app.connect("include-read", select_language)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
