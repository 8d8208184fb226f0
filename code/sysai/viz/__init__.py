"""How the book's figures look, and how its prose quotes numbers from cells."""

from sysai.viz.glue import glue
from sysai.viz.style import INK, PALETTE, PAPER, use_style

__all__ = ["INK", "PALETTE", "PAPER", "glue", "use_style"]
