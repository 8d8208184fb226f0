"""A page of the built sites as a reader's browser sees it, and what it did that a page of ours must not do."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SITE = Path(os.environ.get("SYSAI_SITE") or ROOT / "site")  # `make test CHAPTER=11` names that of a copy of the book
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
LANGUAGES = ("en", "zh")
OTHER = {"en": "zh", "zh": "en"}
TIMEOUT_MS = 20_000
NAVIGATION_MS = 60_000
PHONE = {"width": 390, "height": 844}

# What an element would load from elsewhere, even where this visit did not: lazy images, hints, frames.
ADDRESSES = """() => [...document.querySelectorAll(
    "[src], [srcset], [poster], object[data], link[href]:not([rel~=canonical], [rel~=alternate])")]
  .flatMap(element => ["src", "srcset", "poster", "data", "href"].map(name => element.getAttribute(name)))
  .filter(address => address && /^(https?:)?\\/\\//.test(address))"""
# Elements that stick out of the window on the right, if the page scrolls sideways.
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth <= width) return [];
  const clipped = ({ parentElement: parent }) =>
    parent !== document.body && (getComputedStyle(parent).overflowX !== "visible" || clipped(parent));
  const wide = [...document.body.querySelectorAll("*")]
    .filter(element => element.getBoundingClientRect().right > width + 1 && !clipped(element))
    .map(element => `<${element.localName} class="${element.className}"> ends at ` +
                    `${Math.round(element.getBoundingClientRect().right)} of ${width} px`);
  return wide.length ? wide : [`the page is ${document.scrollingElement.scrollWidth} px wide`];
}"""

# Wait for transitions, a second at most: those of what is folded away never finish.
SETTLED = """() => Promise.race([
  Promise.all(document.getAnimations().map(animation => animation.finished)),
  new Promise(resolve => setTimeout(resolve, 1000)),
])"""

FINDINGS = """async ([context, options]) => {
  const { violations } = await axe.run(context, options);
  return violations.flatMap(({ id, impact, nodes }) => nodes
    .filter(({ target }) => impact !== "minor" || document.querySelector(target[0]).closest(".explorable"))
    .map(({ target, failureSummary, html }) =>
      `${id} (${impact}): ${target} ${failureSummary}\\n    ${html.slice(0, 200)}`));
}"""


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


class Visit:
    """A tab of a reader who has not been here before; its requests are noted, a worker's among them."""

    def __init__(self, browser, address: str, **settings):
        self.address = address
        self.requested: list[str] = []
        self.errors: list[str] = []
        self.context = browser.new_context(**settings)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.context.set_default_navigation_timeout(NAVIGATION_MS)
        self.context.on("request", lambda request: self.requested.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("response", self._response)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(f"console {message.type}: {message.text}")

    def _response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def open(self, path: str):
        """Go there, and scroll to the end, so that what loads late loads."""
        self.page.goto(self.address + path, wait_until="load")
        self.scroll_through()
        return self.page

    def scroll_through(self):
        """Scroll to the end of the page."""
        self.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")

    @property
    def foreign(self) -> list[str]:
        """Addresses of other hosts that were asked for, or that the page would ask for."""
        ours = (self.address, "data:", "blob:")
        return [url for url in self.requested if not url.startswith(ours)] + self.page.evaluate(ADDRESSES)

    def faults(self) -> list[str]:
        """Errors, warnings and requests to other hosts, once nothing is being loaded any more."""
        self.page.wait_for_load_state("networkidle")
        return self.errors + [f"request to another host: {url}" for url in self.foreign]

    def inaccessible(self, within: str = "html", **options) -> list[str]:
        """What axe finds: rule, and the elements it concerns. What is minor counts within an explorable alone.

        But for `region`: the theme's sidebar has its logo outside of a landmark.
        """
        if not self.page.evaluate("'axe' in globalThis"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        options = {"resultTypes": ["violations"], "rules": {"region": {"enabled": False}}} | options
        return self.page.evaluate(FINDINGS, [within, options])

    def colours(self, theme: str):
        """Let the reader's system change its colour scheme, which a page follows while it is open."""
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        self.page.evaluate(SETTLED)

    def overflow(self) -> list[str]:
        """Elements that make the page scroll sideways."""
        return self.page.evaluate(OVERFLOW)

    def at(self, path: str) -> bool:
        """Whether this page is open."""
        return bool(re.fullmatch(re.escape(self.address + path) + r"([?#].*)?", self.page.url))


def listed(what: str, items: list[str]) -> str:
    """A heading and a line for each item."""
    return "\n".join([f"{what}:", *(f"  {item}" for item in items)])
