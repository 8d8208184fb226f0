"""The search page of each site finds what stands on its pages, and nothing else."""

import re
from functools import cache
from urllib.parse import quote, urlsplit

import pytest
from bs4 import BeautifulSoup
from visit import PAGES, SITE, listed

GENERATED = {"search.html", "genindex.html", "py-modindex.html"}  # no prose of ours


@cache
def article_text(path: str) -> str:
    """The words of a page's article, as its author wrote them, without a space between Chinese and Latin."""
    page = re.search(r"<article.*</article>", (SITE / path).read_text(encoding="utf-8"), re.DOTALL)[0]
    page = re.sub(r"<(svg|script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    article = BeautifulSoup(page, "html.parser")
    for element in article.select(".headerlink, .cell_output"):
        element.decompose()
    text = re.sub(r"\s+", " ", article.get_text())
    return tighten(text)


def tighten(text: str) -> str:
    return re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\w])|(?<=[\w]) (?=[\u4e00-\u9fff])", "", text)


def pages_with(language: str, term: str) -> set[str]:
    """Pages of a site whose article holds the term (a Latin word as a whole word, in any case)."""
    edge = r"(?<![A-Za-z])", r"(?![A-Za-z])"
    pattern = re.compile(edge[0] + re.escape(tighten(term)) + edge[1], re.IGNORECASE)
    prose = [page for page in PAGES if page.startswith(language) and page[3:] not in GENERATED]
    return {page for page in prose if pattern.search(article_text(page))}


def results(page, language: str) -> set[str]:
    """Pages that the search page lists, once its search has finished."""
    page.wait_for_function("() => document.querySelector('#search-results .search-summary')?.innerText")
    links = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
    return {language + urlsplit(link).path.partition(f"/{language}")[2] for link in links}


@pytest.mark.parametrize(
    ("language", "term"),
    [
        ("zh", "编译器"),
        ("zh", "计算图"),
        ("zh", "KV 缓存"),
        ("zh", "KV缓存"),
        ("zh", "attention"),
        ("en", "attention"),
    ],
)
def test_search_finds(visit, language, term):
    expected = pages_with(language, term)
    assert expected, f"no page of {language} holds {term!r}: choose a term that occurs"
    seen = visit(f"{language}/search.html?q={quote(term)}")
    missed = expected - results(seen.page, language)
    assert not missed, listed(f"{term!r} stands on these pages, which the search does not list", sorted(missed))
    assert not seen.errors, listed("errors", seen.errors)


@pytest.mark.parametrize(("language", "term"), [("en", "zyzzyva"), ("zh", "饕餮貔貅")])
def test_search_does_not_find_what_is_not_there(visit, language, term):
    assert not pages_with(language, term)
    assert not results(visit(f"{language}/search.html?q={quote(term)}").page, language)
