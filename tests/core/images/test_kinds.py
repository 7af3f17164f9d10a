"""What kind an image is, by its header."""

from __future__ import annotations

import pytest

from kseg_core.images import PictureInfo
from kseg_core.images.kinds import PICTURE, Kind, kind_of, kind_of_bands, most_frequent


def info(dtype: str, bands: int, *, alpha: bool = False, colours: str | None = None) -> PictureInfo:
    return PictureInfo("TIFF", (4, 5), bands, dtype, (4, 5), None, alpha, colours)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (info("uint8", 1), "rgb"),
        (info("uint8", 2, alpha=True), "rgb"),
        (info("uint8", 3), "rgb"),
        (info("uint8", 4), "rgb"),
        (info("uint8", 4, alpha=True), "rgb"),
        (info("uint8", 4, colours="cmyk"), "rgb"),
        (info("uint8", 5, alpha=True, colours="cmyk"), "rgb"),
        (info("uint8", 1, colours="palette"), "rgb"),
        (info("uint16", 1, colours="palette"), "rgb"),
        (info("uint8", 2), "uint8x2"),
        (info("uint8", 5), "uint8x5"),
        (info("uint8", 5, alpha=True), "uint8x4"),
        (info("uint8", 6, colours="cmyk"), "uint8x6"),
        (info("int8", 1), "int8"),
        (info("uint16", 1), "uint16"),
        (info("uint16", 3), "uint16x3"),
        (info("uint16", 4, alpha=True), "uint16x3"),
        (info("uint16", 4, colours="cmyk"), "uint16x4"),
        (info("float16", 2, alpha=True), "float16"),
        (info("float64", 12), "float64x12"),
    ],
    ids=str,
)
def test_the_kind_of_a_header(header: PictureInfo, name: str) -> None:
    assert kind_of(header).name == name
    assert kind_of(header).features == ("rgb" if name == "rgb" else "bands")


def test_where_bands_are_chosen_their_number_makes_no_difference() -> None:
    assert kind_of_bands(info("uint8", 3)) == Kind("uint8", 3)
    assert kind_of_bands(info("uint8", 3), (1, 2)) == kind_of_bands(info("uint8", 9), (1, 2)) == Kind("uint8", 0)
    assert Kind("uint8", 0).name == "uint8"


def test_the_most_frequent_kind_and_which_of_as_many() -> None:
    deep, deeper = Kind("uint16", 1), Kind("float32", 2)
    assert most_frequent([deep, PICTURE, deep]) == deep
    assert most_frequent([deep, PICTURE]) == PICTURE
    assert most_frequent([deeper, deep, PICTURE, deep, deeper]) == deeper
