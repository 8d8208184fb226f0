"""How tests are shared between processes (`-n 2 --dist loadgroup`), and what is printed at the end.

Tests of a group run in one process, one after the other. By default a file is a group; a page of the sites is one;
those that start ranks are one, as each takes more than one core. A file may name its own by the mark `xdist_group`.
"""

from collections import Counter
from pathlib import Path

import pytest

RANKS = {"distributed", "parallel"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        path = item.path.relative_to(Path(__file__).parent)
        group = "ranks" if path.parts[0] in RANKS else path.as_posix()
        if path.parts[0] == "browser" and hasattr(item, "callspec"):
            group = item.callspec.params.get("path", group)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter) -> None:
    """Seconds that the book's proofs took, a chapter."""
    seconds = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.startswith("chapter ") and report.when == "call":
                seconds[name] += value
    for name, value in sorted(seconds.items()):
        terminalreporter.write_line(f"exercises of {name}: checked in {value:.1f} s")
