"""Each chapter as a notebook a language: what Colab opens, what readers download, what nbval runs.

A notebook holds its language's prose as plain Markdown (MyST's directives, roles and labels become Markdown with
links into the site), the code cells as they stand, the outputs of the build's execution, and, before all, a cell
that installs the package where it is missing.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from pybtex.database import parse_file
from sphinx.errors import ExtensionError
from sysai.core.language import Text, in_language

from .cells import has_code, language_of, read_notebook
from .exercise_pages import find_exercise, notebook_cells, split
from .explorable_pages import notebook_output
from .labels import chinese_figure
from .page_language import CHINESE

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(\s*)(:{3,}|`{3,})\{([\w-]+)\}[ \t]*(.*)$")
BLOCK = re.compile(r"[>#|<$`:]|[-*+] |\d+[.)] ")  # how a line begins that starts a block of its own
NO_TEXT = ("#", "|", "<", "$$", "```")  # how a line begins that no line continues
TEXTS = {
    "note": Text("Note", "备注"),
    "warning": Text("Warning", "警告"),
    "tip": Text("Tip", "提示"),
    "important": Text("Important", "重要"),
    "seealso": Text("See also", "参见"),
    "two": Text("{0} and {1}", "{0}和{1}"),
    "more": Text("{0} et al.", "{0}等"),
}


class Converter:
    """Turns one page's MyST into Markdown that any notebook viewer shows."""

    def __init__(self, app, docname: str, notebook: nbformat.NotebookNode):
        self.app, self.env, self.docname = app, app.env, docname
        self.lang = language_of(app.config.language)
        self.words = in_language(TEXTS, self.lang)
        self.glued = dict(_glued(notebook))

    def markdown(self, source: str) -> str:
        """Convert the text of a cell."""
        return self.inline("\n".join(self.blocks(source.splitlines()))).strip()

    def blocks(self, lines: list[str]) -> list[str]:
        """Convert directives and labels, line by line; what code fences hold stays."""
        result, i = [], 0
        while i < len(lines):
            line = lines[i]
            directive, plain = FENCE.match(line), re.match(r"^\s*(`{3,})", line)
            if directive or plain:
                fence = directive[2] if directive else plain[1]
                end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence), len(lines))
                body = lines[i + 1 : end]
                result += self.directive(directive[3], directive[4], body) if directive else lines[i : end + 1]
                i = end + 1
            elif label := re.match(r"^\(([\w.-]+)\)=\s*$", line):
                result.append(f'<a id="{label[1]}"></a>\n')
                i += 1
            else:
                result.append(line)
                i += 1
        return join_chinese(result)

    def directive(self, name: str, title: str, body: list[str]) -> list[str]:
        """Convert one directive."""
        options = {}
        while body and (option := re.match(r"^:([\w-]+):\s*(.*)$", body[0].strip())):
            options[option[1]] = option[2]
            body = body[1:]
        anchor = [f'<a id="{options["name"]}"></a>', ""] if "name" in options else []
        if name == "math":
            tag = rf" \tag{{{self.equation(options['label'])}}}" if "label" in options else ""
            return ["$$", *body, f"{tag}$$"]
        inner = "\n".join(self.blocks(body)).strip().splitlines()
        if name == "dropdown":
            return [*anchor, f"<details><summary><b>{title}</b></summary>", "", *inner, "", "</details>"]
        if name == "list-table":
            return [*anchor, *([f"**{title}**", ""] if title else []), *_pipe_table(inner)]
        if name == "admonition" or name in self.words:
            heading = title or self.words.get(name, "")
            return [*anchor, f"> **{heading}**", ">", *(f"> {line}".rstrip() for line in inner)]
        raise ExtensionError(f"{self.docname}: the notebook has no Markdown for the directive {{{name}}}; "
                             "add it to notebook_export.py or write it otherwise.")  # fmt: skip

    def inline(self, text: str) -> str:
        """Convert roles, links and numbered equations; code spans stay."""
        text = re.sub(
            r"\$\$(.+?)\$\$[ \t]*\(([\w.-]+)\)",
            lambda match: f"$${match[1].rstrip()} \\tag{{{self.equation(match[2])}}}$$",
            text,
            flags=re.DOTALL,
        )
        role = r"\{(?P<role>[\w:]+)\}`(?P<content>[^`]+)`"
        link = r"\[(?P<text>[^\]\[]*)\]\(#(?P<label>[\w.-]+)\)"
        code = r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
        return re.sub(f"{role}|{link}|{code}", self._replace, text, flags=re.DOTALL)

    def _replace(self, match: re.Match) -> str:
        if match["role"]:
            return self.role(match["role"], match["content"])
        if match["label"]:
            title, url = self.target(match["label"])
            return f"[{match['text'] or title}]({url})"
        return match[0]

    def role(self, role: str, content: str) -> str:
        """Convert one role."""
        if role.startswith("glue"):
            return self.number(content)
        if role.startswith("cite"):
            cited = ", ".join(self.citation(key.strip(), in_text=role == "cite:t") for key in content.split(","))
            return cited if role == "cite:t" else f"({cited})"
        if role in ("eq", "math:numref"):
            url = self.url(self.env.get_domain("math").equations[content][0], f"equation-{content}")
            return f"[({self.equation(content)})]({url})"
        named = re.match(r"^(.*?)\s*<(.+)>$", content)
        label = named[2] if named else content
        if role in ("numref", "ref"):
            title, url = self.target(label)
            figure = self.figure_number(label) if role == "numref" else None
            return f"[{figure or (named[1] if named else title)}]({url})"
        raise ExtensionError(f"{self.docname}: the notebook has no Markdown for the role {{{role}}}; "
                             "add it to notebook_export.py or write it otherwise.")  # fmt: skip

    def target(self, label: str) -> tuple[str, str]:
        """Title and address of a label."""
        standard = self.env.get_domain("std")
        if label in standard.labels:
            docname, anchor, title = standard.labels[label]
        else:
            (docname, anchor), title = standard.anonlabels[label], label
        return title, self.url(docname, anchor)

    def url(self, docname: str, anchor: str) -> str:
        """The public address of a place in the book."""
        return f"{self.app.config.html_baseurl}{docname}.html#{anchor}"

    def figure_number(self, label: str) -> str | None:
        """`Fig. 1.2` in the page's language, for the label of a numbered figure or table."""
        docname, anchor = self.env.get_domain("std").anonlabels[label]
        for kind, numbers in self.env.toc_fignumbers.get(docname, {}).items():
            if anchor in numbers:
                return self.app.config.numfig_format[kind] % ".".join(map(str, numbers[anchor]))
        return None

    def equation(self, label: str) -> str:
        """`1.2`, the number of a labelled equation."""
        docname, number = self.env.get_domain("math").equations[label]
        numbers = self.env.toc_fignumbers.get(docname, {}).get("displaymath", {})
        return ".".join(map(str, numbers.get(f"equation-{label}", (number,))))

    def citation(self, key: str, in_text: bool) -> str:
        """`Williams et al., 2009`, linked to the bibliography."""
        entry = _bibliography()[key]
        names = [" ".join(person.last_names).strip("{}") for person in entry.persons["author"]]
        authors = names[0] if len(names) == 1 else self.words["two" if len(names) == 2 else "more"].format(*names)
        url = f"{self.app.config.html_baseurl}book/references.html"
        year = entry.fields["year"]
        return f"[{authors} ({year})]({url})" if in_text else f"[{authors}, {year}]({url})"

    def number(self, content: str) -> str:
        """A number that a cell glued, formatted."""
        name, _, form = content.partition(":")
        value = self.glued[name]
        return format(value, form) if form else str(value)


def join_chinese(lines: list[str]) -> list[str]:
    """Join the lines of a paragraph beside Chinese characters, where a viewer would draw a space."""
    joined, in_code = [], False
    for line in lines:
        in_code ^= line.lstrip().startswith("```")
        before, after = (joined[-1] if joined else ""), line.lstrip()
        flowing = before.strip() and after and not in_code and not BLOCK.match(after) and not before.startswith(NO_TEXT)
        if flowing and (CHINESE.match(before[-1]) or CHINESE.match(after[0])):
            joined[-1] += after
        else:
            joined.append(line)
    return joined


def _pipe_table(lines: list[str]) -> list[str]:
    """The rows of a list table as a pipe table."""
    rows = []
    for line in lines:
        if match := re.match(r"^\* - (.*)$", line):
            rows.append([match[1]])
        elif match := re.match(r"^\s+- (.*)$", line):
            rows[-1].append(match[1])
        elif line.strip():
            rows[-1][-1] += " " + line.strip()
    head, *rest = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]


@cache
def _bibliography():
    return parse_file(ROOT / "book/references.bib").entries


def _glued(notebook: nbformat.NotebookNode):
    """Names and values that cells glued."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                text = next(iter(output.data.values()))
                try:
                    yield name, int(text) if re.fullmatch(r"-?\d+", text) else float(text)
                except ValueError:
                    yield name, text.strip("'\"")


def setup_cell(app, exercises: bool) -> nbformat.NotebookNode:
    """The first cell: on Colab it installs the package; everywhere it says which device it found.

    It loads the magic for exercises where there are any, and asks for Chinese reports in a Chinese notebook.
    """
    options = app.config.html_theme_options
    address = f"{options['repository_url']}@{options.get('repository_branch', 'main')}"
    chinese = language_of(app.config.language) == "zh"
    imports, language = ("\nimport os", '\nos.environ["SYSAI_LANGUAGE"] = "zh"') if chinese else ("", "")
    magic = "\n%load_ext sysai.exercises" if exercises else ""
    source = f"""\
import importlib.util{imports}

if importlib.util.find_spec("sysai") is None:
    %pip install --quiet "sysai @ git+{address}"

from sysai.core.device import describe_device
{language}{magic}
print(describe_device())"""
    return nbformat.v4.new_code_cell(source, metadata={"tags": ["nbval-ignore-output"]})


def export(app, docname: str) -> nbformat.NotebookNode:
    """Make the notebook of a page in the language being built."""
    lang = language_of(app.config.language)
    path = app.srcdir / f"{docname}.md"
    notebook = read_notebook(path)
    _, notebook = get_cache(app.config.nb_execution_cache_path).merge_match_into_notebook(notebook)
    converter = Converter(app, docname, notebook)
    cells = []
    for cell in notebook.cells:
        if cell.metadata.pop("lang", lang) != lang:
            continue
        if cell.cell_type == "markdown":
            for text, exercise in split(cell.source):
                if text.strip():
                    cells.append(nbformat.v4.new_markdown_cell(converter.markdown(text)))
                if exercise:
                    cells += notebook_cells(find_exercise(path.parent, exercise), lang, converter.markdown)
            continue
        figures = {code: cell.metadata.pop(key, {}) for code, key in (("en", "mystnb"), ("zh", "mystnb_zh"))}
        for output in cell.outputs:
            output.update(notebook_output(output, lang))
            if lang == "zh":
                output.update(chinese_figure(output, figures[lang]))
        cells.append(cell)
        if figure := figures[lang].get("figure"):
            number = converter.figure_number(figure["name"])
            cells.append(nbformat.v4.new_markdown_cell(f"**{number}.** {converter.markdown(figure['caption'])}"))
    cells.insert(0, setup_cell(app, exercises=any(cell.source.startswith("%%exercise") for cell in cells)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook.cells = cells
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return notebook


def export_all(app, exception):
    """Write each chapter's notebook: beside the pages for download, and under _build/notebooks for Colab and nbval."""
    if exception is not None or app.builder.format != "html" or not app.config.book_site_url:
        return
    folders = (Path(app.outdir) / "_notebooks", Path(app.srcdir, "_build/notebooks") / language_of(app.config.language))
    pages = {f"{name}.ipynb": name for name in app.env.found_docs if has_code(app.srcdir / f"{name}.md")}
    for stale in (path for folder in folders for path in folder.rglob("*.ipynb")):
        if not any(stale == folder / name for folder in folders for name in pages):
            stale.unlink()
    for name, docname in pages.items():
        text = nbformat.writes(export(app, docname)) + "\n"
        for target in (folder / name for folder in folders):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_text(encoding="utf-8") != text:
                target.write_text(text, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", export_all, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
