"""How tests are shared between processes (`-n 2 --dist loadgroup`); their seconds are counted by `seconds`.

Tests of a group run in one process, one after the other. By default a file is a group; a page of the sites is one, as
its tests share a browser's tab; those that start ranks are one, as each takes more than one core. A file may name its
own by the mark `xdist_group`.
"""

from pathlib import Path

import pytest

pytest_plugins = ["seconds"]

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
