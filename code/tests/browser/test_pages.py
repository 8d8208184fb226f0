"""Every page of both sites, visited once with all its checks. What fails is told check by check.

Each check is also run on a page with a fault planted in it, to show that it can fail.
"""

import re
from functools import partial
from urllib.parse import urlsplit

import pytest
from boxes import BOXES, HELD, MISPRINTED, OUT_OF_REACH, differences
from visit import LANGUAGES, OTHER, PAGES, PHONE, SITE, TIMEOUT_MS, Visit, listed

HTML_LANG = {"en": "en", "zh": "zh-CN"}

# Text that a reader sees and no code: where a literal ** is markup that was not understood.
PROSE = """() => {
  const texts = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (!node.parentElement.closest("pre, code, script, style, noscript, mjx-container, svg"))
      texts.push(node.data);
  return texts.join("\\n");
}"""
SECTIONS = """() => [...document.querySelectorAll("article :is(h1, h2, h3, h4, h5, h6) > a.headerlink")]
  .map(link => link.getAttribute("href"))"""
# Wait, a second at most, until the theme notices the new width and makes code that scrolls a stop of the Tab key.
CODE_IN_REACH = """async () => {
  const passed = code => code.scrollWidth > code.clientWidth && code.tabIndex < 0;
  for (let tries = 0; tries < 20 && [...document.querySelectorAll("pre")].some(passed); tries++)
    await new Promise(resolve => setTimeout(resolve, 50));
}"""
OF_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}  # all that the colour scheme can change
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


def language(seen: Visit, path: str) -> list[str]:
    """The page's language and title are declared."""
    declared, title = seen.page.evaluate("[document.documentElement.lang, document.title]")
    wrong = [f"lang is {declared!r}"] if declared != HTML_LANG[path[:2]] else []
    return wrong + ([] if title.strip() else ["no title"])


def markup(seen: Visit, path: str) -> list[str]:
    """No markup is left over in the text."""
    return [line.strip() for line in seen.page.evaluate(PROSE).splitlines() if "**" in line]


def explorables(seen: Visit, path: str) -> list[str]:
    """Each explorable is drawn, named, described, and has the controls that Python knows."""
    expected = {box.id: box for box in BOXES if box.path == path}
    found = seen.page.eval_on_selector_all(".explorable", "boxes => boxes.map(box => box.id)")
    faults = differences(list(expected), found, "boxes")
    for box in (expected[name] for name in found if name in expected):
        faults += differences(box.must_hold(), seen.page.evaluate(HELD, box.id), box.id)
    return faults


def on_every_box(script: str, seen: Visit, path: str) -> list[str]:
    """What a script reports of each explorable of the page."""
    found = seen.page.eval_on_selector_all(".explorable", "boxes => boxes.map(box => box.id)")
    return [f"{box}: {fault}" for box in found for fault in seen.page.evaluate(script, box)]


def print_out(seen: Visit, path: str) -> list[str]:
    """In print an explorable is a figure with its text."""
    seen.page.emulate_media(media="print")
    faults = on_every_box(MISPRINTED, seen, path)
    seen.page.emulate_media(media="screen")
    return faults


def accessible(theme: str, seen: Visit, path: str) -> list[str]:
    """No finding of axe in a colour scheme, which follows the reader's system while the page is open."""
    seen.colours(theme)
    return seen.inaccessible(**OF_COLOURS if theme == "dark" else {})


def fits_a_phone(seen: Visit, path: str) -> list[str]:
    """At 390 px nothing sticks out, what scrolls is reached by the keyboard, and controls by a finger."""
    desktop = seen.page.viewport_size
    seen.page.set_viewport_size(PHONE)
    seen.page.evaluate(CODE_IN_REACH)
    faults = seen.overflow() + seen.inaccessible(runOnly=["scrollable-region-focusable"])
    faults += [] if seen.page.locator(".lang-switch").first.is_visible() else ["no language switch"]
    faults += on_every_box(OUT_OF_REACH, seen, path)
    seen.page.set_viewport_size(desktop)
    return faults


def quiet(seen: Visit, path: str) -> list[str]:
    """No error, no warning, no request to another host."""
    return seen.faults()


CHECKS = {
    "language": language,
    "markup": markup,
    "explorables": explorables,
    "controls within reach": partial(on_every_box, OUT_OF_REACH),
    "print": print_out,
    "axe, dark": partial(accessible, "dark"),
    "axe, light": partial(accessible, "light"),
    "phone": fits_a_phone,
    "quiet": quiet,
}


def largest_first(language: str) -> list[str]:
    """The pages of a language in the order that keeps two processes busy to the end."""
    return sorted((path for path in PAGES if path.startswith(language)), key=lambda path: -(SITE / path).stat().st_size)


def switch(seen: Visit, path: str, section: str) -> list[str]:
    """Change the language; the reader must land on the page and section given."""
    seen.page.locator(".lang-switch").click()
    seen.page.wait_for_url(lambda url: seen.at(path), wait_until="load", timeout=TIMEOUT_MS)
    landed = urlsplit(seen.page.url).fragment
    if landed != section.removeprefix("#"):
        return [f"at section {landed!r} instead of {section!r}"]
    top = seen.page.locator(section).bounding_box()["y"] if section else 0
    height = seen.page.viewport_size["height"]
    return [] if -1 <= top < height else [f"{section} stands at {top:.0f} px of a {height} px window"]


@pytest.mark.parametrize("path", largest_first("en"))
def test_page_in_both_languages(visit, subtests, path):
    """To the other language with the last section in the address, back with one scrolled to the top of the window."""
    partner = "zh" + path[2:]
    seen = visit(path)

    def check(name: str, page: str, find_faults) -> None:
        with subtests.test(f"{page}: {name}"):
            faults = find_faults(seen, page)
            assert not faults, listed(f"{page}, {name}", faults)

    for name, find_faults in CHECKS.items():
        check(name, path, find_faults)
    sections = seen.page.evaluate(SECTIONS)
    named = sections[-1] if len(sections) > 1 else ""
    seen.page.goto(seen.address + path + named)
    check("switch from the last section", path, lambda seen, _: switch(seen, partner, named))
    seen.errors.clear()
    seen.requested.clear()
    if not seen.at(partner):
        seen.open(partner)
    check("sections", partner, lambda seen, _: differences(sections, seen.page.evaluate(SECTIONS), "sections"))
    seen.scroll_through()
    for name, find_faults in CHECKS.items():
        check(name, partner, find_faults)
    read = seen.page.evaluate(READ)
    check("switch from the section that is read", partner, lambda seen, _: switch(seen, path, read))


@pytest.mark.parametrize("start", LANGUAGES)
def test_switch_both_ways_of_reading(visit, start):
    """From each language: the section named in the address while it is in sight, else the one scrolled to the top."""
    path, partner = f"{start}/book/how-to-use.html", f"{OTHER[start]}/book/how-to-use.html"
    seen = visit(path)
    named = seen.page.evaluate(SECTIONS)[-1]
    seen.page.goto(seen.address + path + named)
    assert not switch(seen, partner, named)
    seen.page.goto(seen.address + path + named)
    seen.page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    assert not switch(seen, partner, "")
    seen.open(path)
    read = seen.page.evaluate(READ)
    assert read
    assert not switch(seen, partner, read)


def test_both_sites_are_built():
    assert (SITE / "index.html").is_file(), f"{SITE} is not built: run `make book`"
    pages = {language: {page[3:] for page in PAGES if page.startswith(language)} for language in LANGUAGES}
    assert pages["en"] == pages["zh"]
    assert {"book/index.html", "search.html"} <= pages["en"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_opens_in_the_colours_of_the_system(visit, theme):
    for language in LANGUAGES:
        page = visit(f"{language}/book/index.html", color_scheme=theme).page
        assert page.evaluate("document.documentElement.dataset.theme") == theme


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


PLANTED = """() => {
  const box = document.querySelector(".explorable"), [first, second] = box.querySelectorAll(".explorable-control");
  for (const section of document.querySelectorAll("article section")) if (!section.contains(box)) section.remove();
  document.documentElement.lang = "fr";
  document.querySelector("article p").insertAdjacentHTML("beforebegin",
    "<p>**bold**</p><p style='color: #777; background: #666'>faint</p><div style='width: 1500px'>wide</div>" +
    "<p style='overflow: auto; width: 200px; white-space: nowrap'>" + "a long line ".repeat(9) + "</p>" +
    "<img src='//example.com/a.png' alt=''><img src='missing.png' alt=''><img src='favicon.svg'>");
  box.querySelector("[type=range]").dataset.texts = "[]";
  first.querySelector("label").remove();
  second.insertAdjacentHTML("beforeend", "<div style='position: absolute; inset: 0'></div>");
  box.insertAdjacentHTML("beforeend", "<button>printed</button>");
  console.error("planted"); setTimeout(() => { throw new Error("thrown") });
}"""


def test_each_check_can_fail(visit):
    """On a page that is cut down to one explorable."""
    path = BOXES[0].path
    seen = visit(path)
    seen.page.evaluate(PLANTED)
    seen.page.wait_for_function("[...document.images].every(image => image.complete || image.loading === 'lazy')")
    found = {name: listed(name, find_faults(seen, path)) for name, find_faults in CHECKS.items()}
    for name, faults in {
        "language": ["'fr'"],
        "markup": ["**bold**"],
        "explorables": [".texts", ".label"],
        "controls within reach": ["is covered by"],
        "print": ["printed is there"],
        "axe, dark": ["color-contrast"],
        "axe, light": ["color-contrast", "image-alt", "label"],
        "phone": ["of 390 px", "scrollable-region-focusable"],
        "quiet": ["planted", "thrown", "404", "example.com"],
    }.items():
        for fault in faults:
            assert fault in found[name], f"{fault!r} is not seen by {name!r}: {found[name]}"
