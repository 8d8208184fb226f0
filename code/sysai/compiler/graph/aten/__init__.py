"""ATen's operators in terms of the graph's: which translation each has is found by its name, "aten.add.Tensor"."""

from sysai.compiler.graph.aten import contractions, creation, elementwise, movement, reductions
from sysai.compiler.graph.aten.translator import IGNORED, TRANSLATIONS, NotTranslatable, Translator

__all__ = [
    "IGNORED",
    "TRANSLATIONS",
    "NotTranslatable",
    "Translator",
    "contractions",
    "creation",
    "elementwise",
    "movement",
    "reductions",
]
