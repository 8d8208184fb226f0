"""The built site on loopback, and a browser to look at it with."""

import os
from pathlib import Path

import pytest
from chromium import ARGUMENTS, find_chromium
from playwright.sync_api import sync_playwright
from server import serve

# `make test CHAPTER=11` names the site of a copy of the book.
SITE = Path(os.environ.get("SYSAI_SITE") or Path(__file__).resolve().parents[3] / "site")


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
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()
