"""A term is linked to its definition at its first use on a chapter's page, there alone, and only in prose."""

from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from sphinx_sysai import term_glossary
from sphinx_sysai.term_glossary import Term, TermGlossary, link_first_uses, read_terms

TERMS = (
    Term("pass", "遍", (), (), "One way through.", "走一遍。"),
    Term("compiler", "编译器", (), (), "Translates.", "翻译程序的程序。"),
    Term("compiler pass (of a graph)", "编译遍（遍）", ("graph pass",), (), "Rewrites.", "改写计算图。"),
    Term("GQA", "分组查询注意力", ("grouped-query attention",), (), "Shares.", "共享键和值。"),
)


@pytest.fixture(autouse=True)
def _terms(monkeypatch):
    monkeypatch.setattr(term_glossary, "read_terms", lambda: TERMS)
    term_glossary._pattern.cache_clear()
    yield
    term_glossary._pattern.cache_clear()


def app_of(language, output="html"):
    builder = SimpleNamespace(format=output, get_relative_uri=lambda source, target: f"from {source} to {target}")
    return SimpleNamespace(builder=builder, config=SimpleNamespace(language=language))


def linked(text, language="en", docname="chapters/01-demo/chapter", output="html"):
    """(text of the link, anchor) of each term's link, in the order of the page, whose text stays as it was."""
    doctree = publish_doctree(text)
    before = doctree.astext()
    link_first_uses(app_of(language, output), doctree, docname)
    assert doctree.astext() == before
    links = [link for link in doctree.findall(nodes.reference) if "term" in link["classes"]]
    assert all(link["refuri"].startswith(f"from {docname} to book/glossary#") for link in links)
    return [(link.astext(), link["refuri"].partition("#")[2]) for link in links]


@pytest.mark.parametrize("again", ["A compiler and a compiler.", "A compiler.\n\nThe compiler."])
def test_only_the_first_use_on_a_page_is_linked(again):
    assert linked(again) == [("compiler", "term-compiler")]


def test_each_page_has_a_first_use_of_its_own():
    assert linked("A compiler.") == linked("A compiler.", docname="chapters/01-demo/other") != []


def test_other_forms_of_a_term_count_as_uses_of_it():
    assert linked("By grouped-query attention, or GQA.") == [("grouped-query attention", "term-gqa")]
    assert linked("A graph pass is a compiler pass.") == [("graph pass", "term-compiler-pass-of-a-graph")]


@pytest.mark.parametrize("word", ["Compiler", "compilers", "COMPILER"])
def test_capitals_and_plurals_are_uses(word):
    assert linked(f"See {word} here.") == [(word, "term-compiler")]
    assert linked("Two passes.") == [("passes", "term-pass")]


def test_the_longest_form_is_the_one_that_is_meant():
    found = linked("A compiler pass, then a pass of the compiler.")
    expected = [
        ("compiler pass", "term-compiler-pass-of-a-graph"),
        ("pass", "term-pass"),
        ("compiler", "term-compiler"),
    ]
    assert found == expected


@pytest.mark.parametrize("text", ["recompiler", "bypass", "compiler-based", "pre-pass", "compilerless", "pass_two"])
def test_a_part_of_a_word_is_no_use(text):
    assert linked(f"A {text} one.") == []


def test_prose_is_linked_also_where_it_is_emphasized_and_nothing_else_is():
    assert linked("A *compiler* and a **pass**.") == [("compiler", "term-compiler"), ("pass", "term-pass")]
    for text in (
        "In ``compiler`` code.",
        "`the compiler <https://example.org>`_ elsewhere",
        ":math:`compiler`",
        "::\n\n   compiler",
        "compiler\n========",
    ):
        assert linked(text) == []
    assert linked("In ``compiler`` code. A compiler.") == [("compiler", "term-compiler")]


def test_chinese_names_and_latin_forms_beside_chinese_are_linked_on_a_chinese_page():
    found = linked("编译器的编译遍用分组查询注意力，即GQA。编译器。", "zh_CN")
    assert found == [
        ("编译器", "term-compiler"),
        ("编译遍", "term-compiler-pass-of-a-graph"),
        ("分组查询注意力", "term-gqa"),
    ]
    assert linked("用grouped-query attention的模型。", "zh_CN") == [("grouped-query attention", "term-gqa")]
    assert linked("编译器", "en") == []


@pytest.mark.parametrize(("language", "definition"), [("en", "Translates."), ("zh_CN", "翻译程序的程序。")])
def test_a_link_tells_the_definition_in_the_pages_language(language, definition):
    doctree = publish_doctree("compiler 编译器")
    link_first_uses(app_of(language), doctree, "chapters/01-demo/chapter")
    (link,) = doctree.findall(nodes.reference)
    assert link["reftitle"] == definition


def test_only_chapters_have_links_and_only_in_html():
    assert linked("A compiler.", docname="book/index") == []
    assert linked("A compiler.", output="latex") == []


@pytest.mark.parametrize(("language", "first"), [("en", ("compiler", "编译器")), ("zh_CN", ("编译器", "compiler"))])
def test_the_glossary_holds_every_term_with_both_names_its_anchor_and_its_definition(language, first):
    directive = SimpleNamespace(config=SimpleNamespace(language=language))
    (entries,) = TermGlossary.run(directive)
    found = {term["ids"][0]: [child.astext() for child in term.children] for term in entries.findall(nodes.term)}
    assert list(found) == ["term-compiler", "term-compiler-pass-of-a-graph", "term-gqa", "term-pass"]
    assert tuple(found["term-compiler"]) == first
    definitions = [node.astext() for node in entries.findall(nodes.definition)]
    assert definitions[0] == TERMS[1].definition("zh" if language == "zh_CN" else "en")


def test_a_chinese_definition_names_what_others_say():
    term = Term("compiler", "编译器", (), (), "Translates.", "翻译。", ("编译程序", "编译工具"))
    assert term.definition("en") == "Translates."
    assert term.definition("zh") == "翻译。（他处也作编译程序、编译工具。）"


def test_terms_of_the_book_have_anchors_of_their_own_and_no_form_in_common():
    terms = read_terms()
    assert len({term.anchor for term in terms}) == len(terms)
    for lang in ("en", "zh"):
        forms = [form.lower() for term in terms for form in set(term.forms(lang))]
        assert len(set(forms)) == len(forms), [form for form in forms if forms.count(form) > 1]
