"""Lighthouse's thresholds hold on the home page and the first chapter, in both languages."""

import lighthouse
import pytest


def test_the_pages_are_there():
    found = lighthouse.pages()
    assert len(found) == 4, f"home page and chapter 01 in both languages, not {found}: run `make book`"
    assert all((lighthouse.SITE / page).is_file() for page in found), f"{found} are not all built: run `make book`"


@pytest.mark.parametrize("page", lighthouse.pages())
def test_scores(chromium, address, page):
    report = lighthouse.measure(address + page, chromium)
    print(lighthouse.line(page, report))
    assert not report.below, "\n".join([page, *report.below])
