"""Decisions are told apart by the colour-blind, in grey print, and on white and dark ground."""

from itertools import combinations

import numpy as np
import pytest

from common.colours import DEFECT_COLOUR, GOOD_COLOUR, OUTCOME_COLOURS
from common.files import ROOT

# Linear RGB as who lacks one kind of cones sees it (Machado, Oliveira and Fernandes, 2009)
CONES_MISSING = {
    "none": np.eye(3),
    "long": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "medium": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "short": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    """Linear RGB, 0 to 1, of '#rrggbb'."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def contrast(one: float, other: float) -> float:
    """The ratio of WCAG of two luminances."""
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)


def seen(colour: str, missing: str) -> np.ndarray:
    """RGB, 0 to 1, on a scale of even steps for the eye."""
    return np.clip(CONES_MISSING[missing] @ linear(colour), 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("missing", CONES_MISSING)
def test_outcomes_are_told_apart_whatever_cones_are_missing(missing):
    def distance(one: str, other: str) -> float:
        return float(np.linalg.norm(seen(one, missing) - seen(other, missing)))

    assert distance(GOOD_COLOUR, DEFECT_COLOUR) > 0.5  # a green and a red: 0.3 at most
    for one, other in combinations(OUTCOME_COLOURS.values(), 2):
        assert distance(one, other) > 0.2, (one, other)


def test_outcomes_are_told_apart_in_grey_print():
    for one, other in combinations(OUTCOME_COLOURS.values(), 2):
        assert contrast(luminance(linear(one)), luminance(linear(other))) > 1.25, (one, other)


@pytest.mark.parametrize("ground", ["#ffffff", "#12161c"])
@pytest.mark.parametrize("colour", [GOOD_COLOUR, DEFECT_COLOUR])
def test_lines_of_both_classes_can_be_seen_on_light_and_dark_ground(colour, ground):
    assert contrast(luminance(linear(colour)), luminance(linear(ground))) >= 3


def test_the_page_shows_decisions_in_the_same_colours():
    style = (ROOT / "page" / "style.css").read_text()
    for outcome, colour in OUTCOME_COLOURS.items():
        for place in (f".verdict.{outcome} .mark", f".scale .dot.{outcome}"):
            assert f"{place} {{ background: {colour};" in style
