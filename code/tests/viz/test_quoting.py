"""Numbers and sources that a page quotes from its cells."""

import textwrap

import pytest
from IPython.core.formatters import DisplayFormatter
from myst_nb.ext import glue as production
from sysai.viz import glue as ours
from sysai.viz.source import show_source


@pytest.mark.parametrize("value", [3, -0.1, 1e-30, float("inf"), True, "two words", "it's"])
def test_glue_stores_what_myst_nbs_own_does(monkeypatch, value):
    monkeypatch.setattr("IPython.core.formatters.format_display_data", DisplayFormatter().format)
    stored = []
    monkeypatch.setattr(ours, "display", lambda *data, **rest: stored.append((data, rest)))
    monkeypatch.setattr(production, "ipy_display", lambda *data, **rest: stored.append((data, rest)))
    ours.glue("speed", value)
    production.glue("speed", value, display=False)
    assert stored[0] == stored[1]


@pytest.mark.parametrize("value", [None, [1], 1j])
def test_glue_refuses_what_prose_can_not_quote(value):
    with pytest.raises(TypeError, match=r"glue\('speed'\): .* convert it first"):
        ours.glue("speed", value)


class Sample:
    def method(self):
        """Indented, and followed by another."""
        return 1

    def other(self):
        return 2


def test_a_source_is_shown_whole_and_without_its_indentation():
    def block(text: str) -> str:
        return f"```python\n{textwrap.dedent(text).strip()}\n```"

    method = '''
        def method(self):
            """Indented, and followed by another."""
            return 1
    '''
    assert show_source(Sample.method).data == block(method)
    both = show_source(Sample.method, Sample.other).data
    assert both == block(method) + "\n" + block("def other(self):\n    return 2")
