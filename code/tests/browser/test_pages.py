"""Every page of both sites, as a reader's browser sees it.

Each check is also run on a page with a fault planted in it, to show that it can fail.
"""

import re
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from conftest import SITE

ROOT = SITE.parent
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
LANGUAGES = ("en", "zh")
OTHER = {"en": "zh", "zh": "en"}
HTML_LANG = {"en": "en", "zh": "zh-CN"}
GENERATED = {"search.html", "genindex.html", "py-modindex.html"}  # no prose of ours


def pages() -> list[str]:
    """Every page of both sites, relative to the folder they share; redirects are none."""
    found = (path for language in LANGUAGES for path in sorted((SITE / language).rglob("*.html")))
    return [
        path.relative_to(SITE).as_posix()
        for path in found
        if not any(part.startswith("_") for part in path.relative_to(SITE).parts)
        and 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")[:500]
    ]


PAGES = pages()
every_page = pytest.mark.parametrize("path", PAGES)
themes = pytest.mark.parametrize("theme", ["light", "dark"])

# Text that a reader sees and no code: where a literal ** is markup that was not understood.
PROSE = """() => {
  const texts = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (!node.parentElement.closest("pre, code, script, style, noscript, mjx-container, svg"))
      texts.push(node.data);
  return texts.join("\\n");
}"""
# What an element would load from elsewhere, even where this visit did not: lazy images, hints, frames.
ADDRESSES = """() => [...document.querySelectorAll(
    "[src], [srcset], [poster], object[data], link[href]:not([rel~=canonical], [rel~=alternate])")]
  .flatMap(element => ["src", "srcset", "poster", "data", "href"].map(name => element.getAttribute(name)))
  .filter(address => address && /^(https?:)?\\/\\//.test(address))"""
SECTIONS = """() => [...document.querySelectorAll("article :is(h1, h2, h3, h4, h5, h6) > a.headerlink")]
  .map(link => link.getAttribute("href"))"""
# Scroll a section of the middle to the top of the window, without naming it in the address.
READ = """() => {
  const last = document.documentElement.scrollHeight - innerHeight;
  const reachable = [...document.querySelectorAll("article section section[id]")]
    .filter(section => section.getBoundingClientRect().top + scrollY < last);
  const section = reachable[Math.floor(reachable.length / 2)];
  history.replaceState(null, "", location.pathname);
  scrollTo({ top: section ? section.getBoundingClientRect().top + scrollY : 0, behavior: "instant" });
  return section ? `#${section.id}` : "";
}"""


class Visit:
    """A page, and what it did that a page of ours must not do."""

    def __init__(self, context, address: str):
        self.address = address
        self.foreign: list[str] = []
        self.errors: list[str] = []
        context.route("**/*", self.guard)
        self.page = context.new_page()
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("response", self.response)

    def guard(self, route):
        if route.request.url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def console(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(f"console {message.type}: {message.text}")

    def response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def open(self, path: str):
        """Go there, and scroll to the end, so that what loads late loads."""
        self.page.goto(self.address + path, wait_until="load")
        self.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        self.page.wait_for_load_state("networkidle")
        self.foreign += self.page.evaluate(ADDRESSES)
        return self.page


@pytest.fixture
def visit(browser, address):
    """Open a page: ``visit(path, **context settings)`` gives a Visit."""
    contexts = []

    def open_page(path: str, *, scheme: str | None = None, **settings) -> Visit:
        context = browser.new_context(color_scheme=scheme or "light", **settings)
        contexts.append(context)
        context.set_default_timeout(10_000)
        seen = Visit(context, address)
        seen.open(path)
        return seen

    yield open_page
    for context in contexts:
        context.close()


def inaccessible(page, **options) -> list[str]:
    """What axe finds serious or critical: rule, and the elements it concerns."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("options => axe.run(document, {resultTypes: ['violations'], ...options})", options)
    return [
        f"{violation['id']} ({violation['impact']}): {node['target']} {node['failureSummary']}\n"
        f"    {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overflow(page) -> list[str]:
    """Elements that stick out of the window on the right, if the page scrolls sideways."""
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.scrollingElement.scrollWidth <= width) return [];
          const wide = [...document.body.querySelectorAll("*")]
            .filter(element => element.getBoundingClientRect().right > width + 1)
            .map(element => `<${element.localName} class="${element.className}"> ends at ` +
                            `${Math.round(element.getBoundingClientRect().right)} of ${width} px`);
          return wide.length ? wide : [`the page is ${document.scrollingElement.scrollWidth} px wide`];
        }"""
    )


def listed(what: str, items: list[str]) -> str:
    return "\n".join([f"{what}:", *(f"  {item}" for item in items)])


def test_both_sites_are_built():
    assert (SITE / "index.html").is_file(), f"{SITE} is not built: run `make book`"
    pages = {language: {page[3:] for page in PAGES if page.startswith(language)} for language in LANGUAGES}
    assert pages["en"] == pages["zh"]
    assert {"book/index.html", "search.html"} <= pages["en"]


@every_page
def test_clean(visit, path):
    """No request to another host, no error or warning, no markup left over, the page's language declared."""
    seen = visit(path)
    assert not seen.foreign, listed("requests to another host", seen.foreign)
    assert not seen.errors, listed("errors", seen.errors)
    left = [line.strip() for line in seen.page.evaluate(PROSE).splitlines() if "**" in line]
    assert not left, listed("literal ** on the page", left)
    assert seen.page.evaluate("document.documentElement.lang") == HTML_LANG[path[:2]]
    assert seen.page.title().strip()


def test_clean_can_fail(visit, address):
    seen = visit("en/search.html")
    seen.page.evaluate(
        """() => {
          document.body.insertAdjacentHTML("beforeend",
            "<p>**bold**</p><img src='//example.com/a.png' alt=''><img src='missing.png' alt=''>");
          console.error("planted"); setTimeout(() => { throw new Error("thrown") });
        }"""
    )
    seen.page.wait_for_load_state("networkidle")
    seen.page.wait_for_timeout(200)
    assert any("example.com" in url for url in seen.foreign)
    assert any("example.com" in url for url in seen.page.evaluate(ADDRESSES))
    for fault in ("planted", "thrown", "404"):
        assert any(fault in error for error in seen.errors), f"{fault} not among {seen.errors}"
    assert "**bold**" in seen.page.evaluate(PROSE)


def test_style_sheets_load_nothing_from_elsewhere():
    sheets = sorted(SITE.rglob("*.css"))
    assert sheets
    elsewhere = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")
    found = [
        f"{sheet.relative_to(SITE)}: {address}"
        for sheet in sheets
        for address in elsewhere.findall(sheet.read_text(encoding="utf-8"))
    ]
    assert not found, listed("style sheets name another host", found)


@every_page
def test_switch_keeps_page_and_section(visit, path):
    """There with the last section in the address, back with another one scrolled to the top of the window."""
    seen = visit(path)
    page = seen.page
    partner = OTHER[path[:2]] + path[2:]
    sections = page.evaluate(SECTIONS)
    named = sections[-1] if len(sections) > 1 else ""
    page.goto(f"{seen.address}{path}{named}")
    switch(page, seen.address + partner, named)
    assert page.evaluate(SECTIONS) == sections, "the two languages' sections differ"
    if named:
        top = page.locator(named).bounding_box()["y"]
        height = page.viewport_size["height"]
        assert -1 <= top < height, f"{named} stands at {top:.0f} px of a {height} px window"
    read = page.evaluate(READ)
    switch(page, seen.address + path, read)
    assert page.evaluate("document.documentElement.lang") == HTML_LANG[path[:2]]


def switch(page, address: str, section: str):
    """Change the language; the reader must land on the page and section given."""
    page.locator(".lang-switch").click()
    page.wait_for_url(re.compile(re.escape(address) + "(#.*)?$"))
    assert urlsplit(page.url).fragment == section.removeprefix("#"), "the switch lost the section"


def article_text(path: Path) -> str:
    """The words of a page's article, as its author wrote them, without a space between Chinese and Latin."""
    from bs4 import BeautifulSoup

    article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")
    for element in article.select("script, style, svg, .headerlink, .cell_output"):
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
    return {page for page in prose if pattern.search(article_text(SITE / page))}


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


@themes
@every_page
def test_accessible(visit, path, theme):
    """No serious or critical finding of axe, the contrast of all text among them, in either colour scheme."""
    page = visit(path, scheme=theme).page
    assert page.evaluate("document.documentElement.dataset.theme") == theme, "the page does not follow the system"
    found = inaccessible(page)
    assert not found, listed(f"axe, {theme}", found)


@themes
def test_accessible_can_fail(visit, theme):
    page = visit("en/search.html", scheme=theme).page
    page.evaluate(
        """() => document.querySelector("main").insertAdjacentHTML("beforeend",
          "<p style='color: #777; background: #666'>faint</p><img src='favicon.svg'>")"""
    )
    rules = {finding.split()[0] for finding in inaccessible(page)}
    assert {"color-contrast", "image-alt"} <= rules


@every_page
def test_fits_a_phone(visit, path):
    page = visit(path, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True).page
    wide = overflow(page)
    assert not wide, listed("the page scrolls sideways at 390 px", wide)
    assert page.locator(".lang-switch").first.is_visible()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<div style=\"width: 500px\">wide</div>')")
    assert overflow(page), "the check does not see a wide element"


@contextmanager
def reader(browser, address, **settings):
    """A reader who comes to the book for the first time."""
    context = browser.new_context(**settings)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


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


@themes
def test_landing_is_accessible(browser, address, theme):
    """Without its redirect, which would leave the page before it is looked at."""
    with reader(browser, address, java_script_enabled=False, color_scheme=theme) as page:
        html = page.content()
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    page.set_content(re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL))
    found = inaccessible(page)
    context.close()
    assert not found, listed(f"axe, {theme}", found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_folder_leads_home(browser, address, language):
    with reader(browser, f"{address}{language}/", java_script_enabled=False) as page:
        page.wait_for_url(f"{address}{language}/book/index.html")
        assert page.locator("article h1").is_visible()
