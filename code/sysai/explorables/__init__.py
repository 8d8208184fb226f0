"""Figures with controls: each module holds one, drawn by the same function in a notebook and in the reader's browser.

Modules here and all that they import need nothing but the standard library, because Pyodide runs them; only
`notebook` needs more, and is loaded when a notebook shows the first figure.
"""

from sysai.explorables.explorable import Explorable


def _show(explorable: Explorable) -> None:
    from sysai.explorables.notebook import show

    show(explorable)


Explorable._ipython_display_ = _show  # IPython asks the last value of a cell for it
