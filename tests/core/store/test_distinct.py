"""Distinct colours are told apart by everyone; colours that were chosen stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kseg_core.store.distinct import distinct_colors
from kseg_core.store.legend import Legend

# Viénot, Brettel and Mollon (1999), another simulation than the one that the colours are chosen by: of linear sRGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
}


def least_difference(colors: Any, sight: str) -> float:
    """The smallest CIEDE2000 of two of the colours."""
    color = pytest.importorskip("skimage.color")
    shades = colors / 255
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHT[sight].T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = color.rgb2lab(seen[None])[0]
    differences = color.deltaE_ciede2000(lab[:, None], lab[None])
    return float(differences[~np.eye(len(colors), dtype=bool)].min())


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("count", "least"), [(8, 9.0), (16, 6.0), (24, 4.0), (32, 3.5)])
def test_colours_are_told_apart_whatever_the_sight(count: int, least: float, sight: str) -> None:
    assert least_difference(distinct_colors(count), sight) >= least


def test_as_many_as_are_wanted_each_once_and_more_change_none_of_the_first() -> None:
    many = distinct_colors(300)
    assert many.shape == (300, 3)
    assert many.dtype == np.uint8
    assert len(np.unique(many, axis=0)) == 300
    for count in (0, 1, 7, 8, 9, 100):
        assert np.array_equal(distinct_colors(count), many[:count])
    assert many[:2].tolist() == [[0xE6, 0x9F, 0x00], [0x56, 0xB4, 0xE9]]  # Okabe and Ito
    endless = distinct_colors(5000)
    assert endless.shape == (5000, 3)


def test_colours_that_are_given_are_not_met_again() -> None:
    given = [[0xE6, 0x9F, 0x00], [10, 120, 180]]
    colors = distinct_colors(12, given)
    assert least_difference(np.concatenate([np.array(given, np.uint8), colors]), "normal") > 8
    assert [0xE6, 0x9F, 0x00] not in colors.tolist()


def test_a_legend_in_distinct_colours_has_those_that_were_chosen() -> None:
    mean = np.array([[1, 2, 3], [44, 160, 44], [9, 9, 9]], np.uint8)
    legend = Legend("class", ("a", "plant", "2"), mean, (False, True, False), ((0,), (1,), (2,)))
    assert legend.with_palette("mean") is legend
    shown = legend.with_palette("distinct")
    assert shown.names == legend.names
    assert shown.colors[1].tolist() == [44, 160, 44]
    assert shown.colors[[0, 2]].tolist() == distinct_colors(2, [[44, 160, 44]]).tolist()
    assert mean[0].tolist() == [1, 2, 3]
