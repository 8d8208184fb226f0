"""The colours of all figures, matplotlib's and the explorables'.

The six of `PALETTE` can be told apart with the common colour-vision deficiencies and have a contrast of at least
3:1 against white and against the site's dark background. Ink and paper are `INK` and `PAPER`; the site replaces
exactly these two by the colours of the reader's theme.
"""

PALETTE = {
    "blue": "#2b7bba",
    "orange": "#d2691e",
    "green": "#1f9468",
    "red": "#d1495b",
    "purple": "#aa78dd",
    "grey": "#7b8794",
}
INK = "#1f2329"
PAPER = "#fefefe"
