"""The page at the sites' root sends each reader to a language, and remembers the choice."""

import re
from contextlib import contextmanager

import pytest
from visit import LANGUAGES, OTHER, Visit, listed


@contextmanager
def reader(browser, address, path="", **settings):
    """A reader who comes to the book for the first time."""
    seen = Visit(browser, address, **settings)
    seen.page.goto(address + path)
    yield seen.page
    seen.context.close()


def language_of(page, address) -> str:
    page.wait_for_url(re.compile(re.escape(address) + "(en|zh)/.*"))
    return page.url.removeprefix(address)[:2]


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh"), ("zh-TW", "zh")])
def test_landing_picks_the_language_and_remembers_the_choice(browser, address, locale, language):
    with reader(browser, address, locale=locale) as page:
        assert language_of(page, address) == language
        page.locator(".lang-switch").first.click()
        page.wait_for_url(re.compile(f"{re.escape(address)}{OTHER[language]}/.*"))
        page.goto(address)
        assert language_of(page, address) == OTHER[language], "the choice was forgotten"


@pytest.mark.parametrize("language", LANGUAGES)
def test_landing_asks_readers_of_other_languages_once(browser, address, language):
    with reader(browser, address, locale="de-DE") as page:
        page.locator(f"a[hreflang={language}]").click()
        assert language_of(page, address) == language
        page.goto(address)
        assert language_of(page, address) == language, "the choice was forgotten"


@pytest.mark.parametrize("language", LANGUAGES)
def test_landing_works_without_javascript(browser, address, language):
    with reader(browser, address, java_script_enabled=False) as page:
        link = page.locator(f"a[hreflang={language}]")
        assert link.is_visible()
        link.click()
        assert language_of(page, address) == language
        assert page.locator("article h1").is_visible()


def test_landing_is_accessible(browser, address):
    """For those whose language it does not know, since it sends the others on."""
    seen = Visit(browser, address, locale="de-DE")
    seen.page.goto(address)
    for theme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=theme)
        found = seen.inaccessible()
        assert not found, listed(f"axe, {theme}", found)
    assert not seen.faults(), listed("errors", seen.faults())
    seen.context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_folder_leads_home(browser, address, language):
    with reader(browser, address, f"{language}/", java_script_enabled=False) as page:
        page.wait_for_url(f"{address}{language}/book/index.html")
        assert page.locator("article h1").is_visible()
