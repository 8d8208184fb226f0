"""The colours of figures: legible on light and dark pages, and told apart by readers who see fewer colours."""

from itertools import combinations

import numpy as np
import pytest
from sysai.viz.palette import INK, PALETTE, PAPER

DARK = "#14181e"  # the theme's dark page
# From linear RGB to what is seen: Machado, Oliveira, Fernandes 2009, severity 1.
VISION = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])  # of sRGB


def linear(colour: str) -> np.ndarray:
    """Light of the three primaries."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    darker, lighter = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB, in which distances are those that are seen."""
    relative = TO_XYZ @ light / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("page", [PAPER, "#ffffff", DARK])
def test_each_colour_stands_out_from_light_and_dark_pages(page):
    assert {name: contrast(colour, page) for name, colour in PALETTE.items() if contrast(colour, page) < 3} == {}


def test_words_are_legible():
    assert contrast(INK, PAPER) > 7


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision):
    seen = {name: lab(np.clip(VISION[vision] @ linear(colour), 0, 1)) for name, colour in PALETTE.items()}
    near = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(seen, 2)}
    assert {pair: distance for pair, distance in near.items() if distance < 10} == {}
