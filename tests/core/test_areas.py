"""Areas as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from kseg_core.areas import UNITS, least_pixels, parse_area
from kseg_core.errors import UsageError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (50, 50),
        ("50", 50),
        (" 7 ", 7),
        ("50um2", "50um2"),
        ("2.5 ha", "2.5ha"),
        ("1 \u00b5m\u00b2", "1um2"),
        (".5m2", ".5m2"),
    ],
)
def test_areas_are_pixels_or_have_a_unit(written: object, meant: object) -> None:
    assert parse_area(written, "--min-region") == meant
    assert parse_area(meant, "--min-region") == meant  # as a store has it


@pytest.mark.parametrize(
    "written", ["0", "-3", "5.5", "", "ha", "3 acres", "1e5", "0.0m2", True, None, "inf", "nanum2"]
)
def test_what_is_no_area_is_refused(written: object) -> None:
    with pytest.raises(UsageError, match=r"--min-region .* like 50um2"):
        parse_area(written, "--min-region")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("number", "side"), [(9, "0.3"), (50, "0.5"), (1, "0.25"), (7, "0.4990"), (1, "3")])
def test_an_area_is_the_fewest_pixels_that_are_as_large(unit: str, number: int, side: str) -> None:
    exact = Fraction(number) / Fraction(side) ** 2
    metres = float(UNITS[unit]) ** 0.5
    pixel = (float(side) * metres) * (float(side) * metres)  # rounded, as products of sides are
    assert least_pixels(f"{number}{unit}", pixel) == -(-exact.numerator // exact.denominator)


def test_without_the_size_of_a_pixel_only_pixels_will_do() -> None:
    assert least_pixels(50, None) == 50
    with pytest.raises(ValueError, match="50um2"):
        least_pixels("50um2", None)
