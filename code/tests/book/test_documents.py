"""What the documents say of the repository is so: its paths, its modules, the layers, the walk through the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GUIDES = [f"{name}{language}.md" for name in ("README", "CONTRIBUTING") for language in ("", ".zh")]
MARKDOWN = [*GUIDES, *(str(path.relative_to(ROOT)) for path in (ROOT / "book").glob("*.md"))]
MARKDOWN += [str(path.relative_to(ROOT)) for path in (ROOT / "chapters").glob("*/**/*.md")]
SOURCES = [
    str(path.relative_to(ROOT)) for name in ("sysai", "benchmarks") for path in (ROOT / "code").glob(f"{name}/**/*.py")
]
ELSEWHERE = {"answer.py", "triton_unified_attention.py", "sysai_vector.h"}  # a student's; vLLM's; generated
MOST_STOPS = 10


@cache
def files() -> set[str]:
    """All files of the repository that a text may name."""
    below = (path for name in (".github", "book", "chapters", "code") for path in (ROOT / name).rglob("*"))
    return {path.relative_to(ROOT).as_posix() for path in (*ROOT.iterdir(), *below) if path.is_file()}


@cache
def definitions(module: Path) -> set[str]:
    """The classes, functions and variables of a module; those within others with the names of these before a dot."""
    names = set()

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + child.name)
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                names.update(
                    prefix + n.id for n in ast.walk(child) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                )

    visit(ast.parse(module.read_text(encoding="utf-8")), "")
    return names


def is_defined(dotted: str) -> bool:
    """Whether `sysai.a.b` is a module, or in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT / "code" / Path(*parts[:end])
        module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module.is_file():
            return end == len(parts) or ".".join(parts[end:]) in definitions(module)
    return False


def is_there(path: str) -> bool:
    """Whether a path from the root exists; capitals (NAME, NN-slug) stand for any name."""
    return any(ROOT.glob(re.sub(r"NN-slug|NAME", "*", path.rstrip("/"))))


def stale(text: str) -> set[str]:
    """The files and the names of the package in backticks that do not exist."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    paths = {span for span in spans if re.fullmatch(r"\w[\w./-]*\.(py|md|toml|yml|tsv|bib|json|txt|h|mjs)", span)}
    trees = {span for span in spans if re.match(r"(book|chapters|code)/", span)}
    unknown = {
        path for path in paths - trees - ELSEWHERE if not any(f"/{file}".endswith(f"/{path}") for file in files())
    }
    unknown |= {path for path in trees if not is_there(path.split(" ")[0])}  # after a space: options of pytest
    return unknown | {span for span in spans if re.fullmatch(r"sysai(\.\w+)+", span) and not is_defined(span)}


@pytest.mark.parametrize("document", MARKDOWN)
def test_a_page_names_files_and_modules_that_exist(document):
    assert stale((ROOT / document).read_text(encoding="utf-8")) == set()


def test_docstrings_and_comments_name_files_and_modules_that_exist():
    found = {source: stale((ROOT / source).read_text(encoding="utf-8")) for source in SOURCES}
    assert {source: names for source, names in found.items() if names} == {}


def test_what_was_renamed_is_found():
    text = "`lowering/product.py`, `code/sysai/compiler/ir/`, `sysai.serving.scheduler`, `sysai.parallel.buckets.Watch`"
    assert stale(text) == set(re.findall(r"`(.*?)`", text))
    assert stale("`lowering/matmul.py`, `code/sysai/explorables/NAME.py`, `sysai.parallel.buckets.Reducer`") == set()


@pytest.mark.parametrize("document", GUIDES)
def test_links_of_the_guides_lead_to_files(document):
    links = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    links = {link.partition("#")[0] for link in links}
    assert links
    assert {link for link in links if not (ROOT / link).is_file()} == set()


def walks(text: str) -> list[list[tuple[str, tuple[str, ...]]]]:
    """The walks of a guide: for each stop its file, and the names to look for there."""
    found = []
    for number, shown, path, sentence in re.findall(
        r"^(\d+)\. \[`(.+?)`\]\((code/.+?)\)[:：] ?(.+)$", text, re.MULTILINE
    ):
        assert path == f"code/sysai/{shown}"
        if number == "1":
            found.append([])
        found[-1].append((path, tuple(re.findall(r"`([\w.]+)`", sentence))))
    return found


@pytest.mark.parametrize("document", GUIDES[2:])
def test_each_stop_of_a_walk_has_the_names_that_it_gives(document):
    found = walks((ROOT / document).read_text(encoding="utf-8"))
    assert len(found) == 3
    for walk in found:
        assert len(walk) <= MOST_STOPS
        for path, names in walk:
            assert names, path
            assert set(names) <= definitions(ROOT / path), path


def test_both_languages_walk_the_same_way():
    english, chinese = (walks((ROOT / document).read_text(encoding="utf-8")) for document in GUIDES[2:])
    assert [[(path, set(names)) for path, names in walk] for walk in english] == [
        [(path, set(names)) for path, names in walk] for walk in chinese
    ]
