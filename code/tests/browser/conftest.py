"""The built site on loopback, and a browser to look at it with."""

import os

import pytest
from chromium import ARGUMENTS, find_chromium
from playwright.sync_api import sync_playwright
from server import serve
from visit import SITE, Visit


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path. Where there is none the test is skipped, on CI it fails."""
    path = find_chromium()
    if path is None:
        message = "needs Chromium: install Debian's package chromium, or name a Chrome in CHROME_PATH"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    return path


@pytest.fixture(scope="session")
def address():
    """The site's address, ending in a slash."""
    with serve(SITE) as root:
        yield root


@pytest.fixture(scope="session")
def browser(chromium):
    """A browser without a window, which finds no host but this machine."""
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open a page: ``visit(path, **context settings)`` gives a Visit."""
    visits = []

    def open_page(path: str, **settings) -> Visit:
        visits.append(Visit(browser, address, **settings))
        visits[-1].open(path)
        return visits[-1]

    yield open_page
    for seen in visits:
        seen.context.close()
