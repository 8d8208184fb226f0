"""One look for all figures that matplotlib draws, legible on light and on dark pages."""

from __future__ import annotations

import matplotlib
from cycler import cycler
from IPython import get_ipython

from sysai.viz.palette import INK, PALETTE, PAPER


def use_style() -> None:
    """Set matplotlib's defaults to the book's style; in a notebook, draw figures as SVG and PNG.

    SVG is what the site shows (its text can be read aloud and searched), PNG is what every notebook viewer shows.
    """
    matplotlib.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.facecolor": PAPER,
            "figure.dpi": 96,
            "figure.constrained_layout.use": True,
            "savefig.facecolor": PAPER,
            "svg.fonttype": "none",
            "svg.hashsalt": "sysai",
            "font.size": 10,
            "text.color": INK,
            "axes.facecolor": PAPER,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.prop_cycle": cycler(color=list(PALETTE.values())),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": PALETTE["grey"],
            "grid.alpha": 0.25,
            "grid.linewidth": 0.8,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 6,
        }
    )
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", "png", bbox_inches=None, metadata={"Date": None})
